//! What the reporters write.

use insta::assert_snapshot;

use super::layout::columns;
use super::samples::{self, Stream, drawn};
use super::{DisplayOptions, Format};
use crate::journal::entry::{RunEnd, RunEvent, RunStatus};

const LOOK: DisplayOptions =
    DisplayOptions { colour: false, width: 120, live: false, verbose: false, temporary: false };
const NARROW: DisplayOptions = DisplayOptions { width: 60, ..LOOK };
const VERBOSE: DisplayOptions = DisplayOptions { verbose: true, ..LOOK };

fn talk(format: Format, display: DisplayOptions, events: &[RunEvent]) -> String {
    drawn(format, display, events).1
}

#[test]
fn plain_success() {
    let (data, talk) = drawn(Format::Plain, LOOK, &samples::success());
    assert_eq!(data, "web is at v2\n");
    assert_snapshot!(talk, @"
    run   0123456789 bluegreen.rhai on docker unix:///var/run/docker.sock
    step  Preflight
      ok    lock web  0.00s
      start docker_build web:v2
      ...   docker_build web:v2  11.0s  60%  Step 3/5 : COPY . .
      ok    docker_build web:v2  12.3s
    done  step Preflight  12.3s
    step  Start green
      log   green listens on 8081
      ok    docker_run web-green (web:v2)  0.42s
      ok    health_wait web-green  1.25s
    done  step Start green  1.67s
    step  Cut over
      ok    docker_stop web  0.80s
      ok    docker_remove web  0.03s
      ok    docker_rename web-green -> web  0.01s
    done  step Cut over  0.84s
    keep  point of no return: what was done so far stays
    warn  notify slack succeeded  0.09s  not delivered: connection refused
    end   done in 14.9s
          changed:
            + image web:v2 (built)
            ~ container web replaced (web:v2)
          run: 0123456789
          details: deployer show 0123456789
    ");
}

#[test]
fn plain_failure() {
    assert_snapshot!(talk(Format::Plain, LOOK, &samples::failure()), @"
    run   0123456789 bluegreen.rhai on docker unix:///var/run/docker.sock
    step  Start green
      ok    docker_run web-green (web:v3)  0.31s
      ...   health_wait web-green  10.0s  503 from http://127.0.0.1:8081/
      FAIL  health_wait web-green  30.0s  container `web-green` never became healthy: the last answer was 503 Service Unavailable
            | starting
            | Traceback (most recent call last):
            | KeyError: 'DATABASE_URL'
            hint: docker logs web-green
    FAIL  step Start green  30.3s
    undo  rolling back: container `web-green` never became healthy
      undo  docker_remove web-green  0.12s
      undo  on_rollback
    deployer::run::unhealthy

      × container `web-green` never became healthy
       ╭─[bluegreen.rhai:12:5]
    end   failed; all changes rolled back (30.4s)
          run: 0123456789
          details: deployer show 0123456789
    ");
}

#[test]
fn plain_stuck() {
    assert_snapshot!(talk(Format::Plain, LOOK, &samples::stuck()), @"
    run   0123456789 bluegreen.rhai on docker unix:///var/run/docker.sock
    step  Start green
      ok    docker_run web-green (web:v3)  0.31s
      ...   health_wait web-green  10.0s  503 from http://127.0.0.1:8081/
      FAIL  health_wait web-green  30.0s  container `web-green` never became healthy: the last answer was 503 Service Unavailable
            | starting
            | Traceback (most recent call last):
            | KeyError: 'DATABASE_URL'
            hint: docker logs web-green
    FAIL  step Start green  30.3s
    undo  rolling back: container `web-green` never became healthy
      FAIL  undo docker_remove web-green  1m 00s  the engine did not answer in 60s
            hint: docker ps
    error the engine did not answer in 60s
    end   stuck after 1m 30s: failed and could not be rolled back
          to do by hand, in this order:
            1. container `web-green` is still there
               docker rm -f web-green
            2. tell those who wait for v3
          still changed:
            + container web-green (web:v3)
          run: 0123456789
          details: deployer show 0123456789
    ");
}

#[test]
fn plain_parallel() {
    assert_snapshot!(talk(Format::Plain, LOOK, &samples::parallel()), @r"
run   0123456789 bluegreen.rhai on docker unix:///var/run/docker.sock
step  Deploy all
  step  [1] Web
  step  [2] Worker
    start [1] docker_pull web:v2
    start [2] docker_pull worker:v2
    ...   [1] docker_pull web:v2  12.0s  86%  Downloading 6 of 7
    ok    [2] docker_pull worker:v2  12.5s
    step  [2] Migrate
      start [2] docker_exec db: migrate
      FAIL  [2] docker_exec db: migrate  0.70s  `migrate` ended with code 1
    done  step [2] Migrate  0.70s
    ok    [1] docker_pull web:v2  13.5s
  done  step [2] Worker  13.5s
  done  step [1] Web  13.5s
done  step Deploy all  13.5s
end   done in 13.5s
      changed:
        + image worker:v2 (pulled)
        + image web:v2 (pulled)
      run: 0123456789
      details: deployer show 0123456789
");
}

#[test]
fn pretty_success() {
    let (data, talk) = drawn(Format::Pretty, LOOK, &samples::success());
    assert_eq!(data, "web is at v2\n");
    assert_snapshot!(talk, @"
    bluegreen.rhai  run 0123456789  2026-03-01 12:00 UTC  docker unix:///var/run/docker.sock
    ✓ Preflight  12.3s
    • Start green
      green listens on 8081
    ✓ Start green  1.67s
    ✓ Cut over  0.84s
    • point of no return: what was done so far stays
    ! notify slack succeeded  0.09s
      not delivered: connection refused

    ✓ done in 14.9s
      changed:
        + image web:v2 (built)
        ~ container web replaced (web:v2)
      run        0123456789
      details    deployer show 0123456789
    ");
}

#[test]
fn pretty_success_verbose() {
    assert_snapshot!(talk(Format::Pretty, VERBOSE, &samples::success()), @"
    bluegreen.rhai  run 0123456789  2026-03-01 12:00 UTC  docker unix:///var/run/docker.sock
    • Preflight
      ✓ lock web  0.00s  bluegreen.rhai:12:5
      ✓ docker_inspect web  0.00s  bluegreen.rhai:12:5
      ✓ docker_build web:v2  12.3s  bluegreen.rhai:12:5
    ✓ Preflight  12.3s
    • Start green
      green listens on 8081
      ✓ docker_run web-green (web:v2)  0.42s  bluegreen.rhai:12:5
      ✓ health_wait web-green  1.25s  bluegreen.rhai:12:5
    ✓ Start green  1.67s
    • Cut over
      ✓ docker_stop web  0.80s  bluegreen.rhai:12:5
      ✓ docker_remove web  0.03s  bluegreen.rhai:12:5
      ✓ docker_rename web-green -> web  0.01s  bluegreen.rhai:12:5
    ✓ Cut over  0.84s
    • point of no return: what was done so far stays
    ! notify slack succeeded  0.09s  bluegreen.rhai:12:5
      not delivered: connection refused

    ✓ done in 14.9s
      changed:
        + image web:v2 (built)
        ~ container web replaced (web:v2)
      run        0123456789
      details    deployer show 0123456789
    ");
}

#[test]
fn pretty_failure() {
    assert_snapshot!(talk(Format::Pretty, LOOK, &samples::failure()), @r"
bluegreen.rhai  run 0123456789  2026-03-01 12:00 UTC  docker unix:///var/run/docker.sock
✗ Start green  30.3s
  ✓ docker_run web-green (web:v3)  0.31s
  ✗ health_wait web-green  30.0s
    container `web-green` never became healthy: the last answer was 503 Service Unavailable
↶ rolling back: container `web-green` never became healthy
  ↶ docker_remove web-green  0.12s
  ↶ on_rollback

deployer::run::unhealthy

  × container `web-green` never became healthy
   ╭─[bluegreen.rhai:12:5]

✗ failed; all changes rolled back (30.4s)
  run        0123456789
  details    deployer show 0123456789
");
}

#[test]
fn pretty_stuck_narrow() {
    assert_snapshot!(talk(Format::Pretty, NARROW, &samples::stuck()), @r"
bluegreen.rhai  run 0123456789  2026-03-01 12:00 UTC  docke…
✗ Start green  30.3s
  ✓ docker_run web-green (web:v3)  0.31s
  ✗ health_wait web-green  30.0s
    container `web-green` never became healthy: the last
    answer was 503 Service Unavailable
↶ rolling back: container `web-green` never became healthy
  ✗ docker_remove web-green  1m 00s
    the engine did not answer in 60s

✗ the engine did not answer in 60s
✗ stuck after 1m 30s: failed and could not be rolled back
  to do by hand, in this order:
    1. container `web-green` is still there
         docker rm -f web-green
    2. tell those who wait for v3
  still changed:
    + container web-green (web:v3)
  run        0123456789
  details    deployer show 0123456789
");
}

#[test]
fn pretty_parallel() {
    assert_snapshot!(talk(Format::Pretty, LOOK, &samples::parallel()), @r"
bluegreen.rhai  run 0123456789  2026-03-01 12:00 UTC  docker unix:///var/run/docker.sock
• Deploy all
  • [2] Worker
    ✓ [2] Migrate  0.70s
      ! [2] docker_exec db: migrate: `migrate` ended with code 1
  ✓ [2] Worker  13.5s
  ✓ [1] Web  13.5s
✓ Deploy all  13.5s

✓ done in 13.5s
  changed:
    + image worker:v2 (pulled)
    + image web:v2 (pulled)
  run        0123456789
  details    deployer show 0123456789
");
}

#[test]
fn pretty_unicode() {
    assert_snapshot!(talk(Format::Pretty, LOOK, &samples::unicode()), @r"
bluegreen.rhai  run 0123456789  2026-03-01 12:00 UTC  docker unix:///var/run/docker.sock
• デプロイを開始する — une étape au titre bien trop long pour un terminal étroit
  ! la base de données est à 91 % pleine, und das ist eine recht lange Warnung 🚀
✗ デプロイを開始する — une étape au titre bien trop long pour un terminal étroit  12.0s
  ✗ docker_pull registry.example.com:5000/部署/とても長い名前のイメージ:2026-03-01-with-a-very-long-tag  12.0s
    `registry.example.com:5000/部署/とても長い名前のイメージ:2026-03-01-with-a-very-long-tag` may not be pulled:
    権限がありません

✗ may not be pulled
✗ failed; all changes rolled back (12.0s)
  run        0123456789
  details    deployer show 0123456789
");
}

#[test]
fn pretty_unicode_narrow() {
    let talk = talk(Format::Pretty, NARROW, &samples::unicode());
    assert_snapshot!(talk, @r"
bluegreen.rhai  run 0123456789  2026-03-01 12:00 UTC  docke…
• デプロイを開始する — une étape au titre bien trop long po…
  ! la base de données est à 91 % pleine, und das ist eine
    recht lange Warnung 🚀
✗ デプロイを開始する — une étape au titre bien trop …  12.0s
  ✗ docker_pull registry.example.com:5000/部署/とて…  12.0s
    `registry.example.com:5000/部署/とても長い名前のイメージ
    :2026-03-01-with-a-very-long-tag` may not be pulled:
    権限がありません

✗ may not be pulled
✗ failed; all changes rolled back (12.0s)
  run        0123456789
  details    deployer show 0123456789
");
    for line in talk.lines() {
        assert!(columns(line) <= NARROW.width, "{line}");
    }
}

#[test]
fn json_success_starts_and_ends() {
    let (data, talk) = drawn(Format::Json, LOOK, &samples::success());
    assert_eq!(talk, "");
    let lines: Vec<&str> = data.lines().collect();
    let few = [lines[0], lines[4], lines[7], lines[lines.len() - 1]].join("\n");
    assert_snapshot!(few, @r#"
    {"run":"0123456789","n":1,"at_ms":1772366400000,"entry":"run_started","header":{"script":"bluegreen.rhai","digest":"sha256:0a1b","params":{"service":"web"},"engine":"docker","address":"unix:///var/run/docker.sock","version":"0.1.0","working_dir":"/srv/web","host":"box","pid":4242,"boot_id":"b00t","pid_namespace":"4026531836","process_start":17}}
    {"run":"0123456789","n":5,"at_ms":1772366400003,"entry":"intended","intent":{"seq":"3","kind":"docker_inspect","subject":"web","args":{"container":"web"},"access":"read","recovery":"observe","undo":"nothing","site":{"source":"bluegreen.rhai","line":12,"column":5}}}
    {"run":"0123456789","entry":"progress","seq":"4","at_ms":1772366404012,"text":"Step 2/5 : RUN pip install","fraction":0.4}
    {"run":"0123456789","n":31,"at_ms":1772366414914,"entry":"run_ended","end":{"status":"succeeded","exit_code":0,"committed":true,"facts":{"service":"web"}}}
    "#);
}

#[test]
fn an_interrupted_run_shows_unknown_outcomes() {
    let mut events = samples::success();
    events.truncate(16);
    assert_snapshot!(talk(Format::Pretty, LOOK, &events), @r"
bluegreen.rhai  run 0123456789  2026-03-01 12:00 UTC  docker unix:///var/run/docker.sock
✓ Preflight  12.3s
• Start green
  green listens on 8081
  ? health_wait web-green: outcome unknown
! no end is recorded: the run is under way or was interrupted
");
    let plain = talk(Format::Plain, LOOK, &events);
    assert!(plain.contains("health_wait web-green  outcome unknown\n"), "{plain}");
    assert!(plain.ends_with("end   no end is recorded: the run is under way or was interrupted\n"), "{plain}");
}

#[test]
fn every_status_has_its_sentence() {
    use RunStatus::{Aborted, Cancelled, Failed, Invalid, Locked, Running, Stuck, Succeeded, Unfinished};
    let all = [Succeeded, Failed, Cancelled, Stuck, Locked, Unfinished, Invalid, Aborted, Running];
    let headline = |status: RunStatus, committed: bool| {
        let mut stream = Stream::new();
        let end = RunEnd { committed, ..samples::end(status) };
        let text = talk(Format::Plain, LOOK, &stream.wait(1_500).end(end));
        text.lines().find(|line| line.starts_with("end")).unwrap_or_default().to_owned()
    };
    let lines: Vec<String> = all.into_iter().map(|status| headline(status, false)).collect();
    let committed = headline(Failed, true);
    assert_snapshot!(format!("{}\n{committed}", lines.join("\n")), @r"
end   done in 1.50s: nothing had to be changed
end   failed before anything was changed (1.50s)
end   cancelled before anything was changed (1.50s)
end   stuck after 1.50s: failed and could not be rolled back
end   not run: another run holds the lock; nothing was touched
end   not run: an interrupted run must be resumed or aborted first; nothing was touched
end   not run: nothing was touched
end   interrupted; rolled back by `deployer abort`
end   ended without a status after 1.50s
end   failed after the point of no return (1.50s): changes before `commit()` stay
");
}
