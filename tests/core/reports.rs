//! What a run says of errors in its script: the user's own line first, then the module's.

use insta::assert_snapshot;

use crate::check::tidy;
use crate::play::play;

fn ran(script: &str, modules: &[(&str, &str)]) -> String {
    tidy(&modules.iter().fold(play(script), |play, (name, text)| play.module(name, text)).run().report())
}

#[test]
fn a_runtime_error_in_a_module() {
    let lib = "fn spec(p) {\n    let port = 1;\n    #{name: p.service}\n}";
    assert_snapshot!(ran("import \"lib\" as lib;\n\nlet x = lib::spec(#{});", &[("lib", lib)]), @r#"
    deployer::script::unknown_key
      × there is no key `service`
       ╭─[test.rhai:3:14]
     2 │
     3 │ let x = lib::spec(#{});
       ·              ──┬─
       ·                ╰── in the call of `spec`
       ╰────
    Advice: deployer::script::below
      ☞ which came from `lib`
       ╭─[lib:3:15]
     2 │     let port = 1;
     3 │     #{name: p.service}
       ·               ───┬───
       ·                  ╰── here
     4 │ }
       ╰────
    "#);
}

#[test]
fn a_runtime_error_in_a_closure_that_a_module_calls() {
    assert_snapshot!(ran(r#"import "a" as a;
a::f(|| docker_stop("nope"));"#, &[("a", r#"fn f(c) {
  c.call()
}"#)]), @r#"
    deployer::effect
      × container `nope` does not exist
       ╭─[test.rhai:2:4]
     1 │ import "a" as a;
     2 │ a::f(|| docker_stop("nope"));
       ·    ┬    ─────┬─────
       ·    │         ╰── here
       ·    ╰── in the call of `f`
       ╰────
      help: see which there are: docker ps -a
    Advice: deployer::script::below
      ☞ which came from `a`
       ╭─[a:2:5]
     1 │ fn f(c) {
     2 │   c.call()
       ·     ──┬─
       ·       ╰── in the closure called here
     3 │ }
       ╰────
    "#);
}

#[test]
fn an_operator_on_the_wrong_types() {
    assert_snapshot!(ran(r#"let n = 1;
n + #{}"#, &[]), @r#"
    deployer::script::unknown_function
      × `+` does not work on an integer and a map
       ╭─[test.rhai:2:3]
     1 │ let n = 1;
     2 │ n + #{}
       ·   ┬
       ·   ╰── here
       ╰────
    "#);
}

#[test]
fn a_key_of_nothing() {
    assert_snapshot!(ran(r#"let x = docker_inspect("web", #{missing_ok: true});
x.state"#, &[]), @r#"
    deployer::script::unknown_key
      × there is no key `state` in nothing
       ╭─[test.rhai:2:3]
     1 │ let x = docker_inspect("web", #{missing_ok: true});
     2 │ x.state
       ·   ──┬──
       ·     ╰── here
       ╰────
    "#);
}

#[test]
fn a_key_that_is_missing() {
    assert_snapshot!(ran(r#"let m = #{};
m.state"#, &[]), @r#"
    deployer::script::unknown_key
      × there is no key `state`
       ╭─[test.rhai:2:3]
     1 │ let m = #{};
     2 │ m.state
       ·   ──┬──
       ·     ╰── here
       ╰────
    "#);
}

#[test]
fn a_syntax_error_in_a_module_of_a_run() {
    assert_snapshot!(ran(r#"import "a" as a;"#, &[("a", r#"let x = ;"#)]), @r#"
    deployer::script::syntax
      × unexpected ';'
       ╭─[test.rhai:1:8]
     1 │ import "a" as a;
       ·        ─┬─
       ·         ╰── in the import of `a`
       ╰────
    Advice: deployer::script::below
      ☞ which came from `a`
       ╭─[a:1:9]
     1 │ let x = ;
       ·         ┬
       ·         ╰── here
       ╰────
    "#);
}

#[test]
fn a_reserved_word_in_a_module_of_a_run() {
    assert_snapshot!(ran(r#"import "a" as a;"#, &[("a", r#"let x = #{use: 1};"#)]), @r#"
    deployer::script::syntax
      × `use` is a word that the language keeps for itself
       ╭─[test.rhai:1:8]
     1 │ import "a" as a;
       ·        ─┬─
       ·         ╰── in the import of `a`
       ╰────
      help: as a key write it in quotes: `#{"use": ...}`, `map["use"]`; else choose another name
    Advice: deployer::script::below
      ☞ which came from `a`
       ╭─[a:1:11]
     1 │ let x = #{use: 1};
       ·           ─┬─
       ·            ╰── here
       ╰────
    "#);
}
