//! Random bytes as a command or a state never cause a panic, and every state after a command can be loaded.

use deployer::base::duration_text::DurationText;
use deployer::effect::traffic::{CanaryMark, CanaryRule, Mirror, Route, Target, TargetCheck, Targets};
use deployer::proxy::command::Command;
use deployer::proxy::control_socket;
use deployer::proxy::state::State;
use deployer::proxy::state_file::{StateFile, parse};
use proptest::prelude::*;

fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab]", 1 => ".{0,6}"]
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just("127.0.0.1:8080".to_owned()), 2 => "127.0.0.1:[0-9]{1,6}", 1 => ".{0,12}"]
}

fn step() -> impl Strategy<Value = Targets> {
    let target = (name(), address(), prop_oneof![0u32..3, any::<u32>()]).prop_map(|(name, address, weight)| Target {
        name,
        address,
        weight,
    });
    let canary = (name(), name(), proptest::option::of(".{0,4}")).prop_map(|(target, name, value)| CanaryRule {
        target,
        by: CanaryMark::Header,
        name,
        value,
    });
    (proptest::collection::vec(target, 0..4), any::<bool>(), proptest::option::weighted(0.2, canary))
        .prop_map(|(targets, sticky, canary)| Targets { targets, sticky, canary })
}

fn route() -> impl Strategy<Value = Route> {
    (name(), address(), proptest::option::of(".{0,6}"), proptest::option::of("/?.{0,6}")).prop_map(
        |(service, address, host, path_prefix)| Route {
            service,
            address,
            also: Vec::new(),
            host,
            path_prefix,
            check: TargetCheck::default(),
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    let epoch = || 0u64..5;
    let wait = || (0u64..100_000).prop_map(DurationText::millis);
    prop_oneof![
        4 => (epoch(), route(), proptest::option::of(step()))
            .prop_map(|(epoch, route, step)| Command::RouteSet { epoch, route, step }),
        1 => (epoch(), name()).prop_map(|(epoch, service)| Command::RouteRemove { epoch, service }),
        3 => (epoch(), name(), step()).prop_map(|(epoch, service, step)| Command::TargetsSet { epoch, service, step }),
        3 => (epoch(), name(), name())
            .prop_map(|(epoch, service, target)| Command::Switch { epoch, service, target }),
        2 => (epoch(), name(), name(), wait()).prop_map(|(epoch, service, target, deadline)| Command::Drain {
            epoch, service, target, deadline, streams_deadline: None
        }),
        1 => (epoch(), name(), any::<u64>(), wait())
            .prop_map(|(epoch, service, max_requests, max_wait)| Command::Hold {
                epoch, service, max_requests, max_wait, until_released: max_requests % 2 == 0
            }),
        1 => (epoch(), name()).prop_map(|(epoch, service)| Command::Release { epoch, service }),
        1 => (epoch(), name(), address(), 0u32..200).prop_map(|(epoch, service, address, percent)| Command::Mirror {
            epoch, service, mirror: Some(Mirror { address, percent })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_as_a_command(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = control_socket::parse(&bytes);
    }

    #[test]
    fn commands_survive_a_round_trip_and_damage(command in command(), at in any::<usize>(), byte in any::<u8>()) {
        let mut text = serde_json::to_vec(&command).unwrap();
        prop_assert_eq!(&control_socket::parse(&text).unwrap(), &command);
        let at = at % text.len();
        text[at] = byte;
        let _ = control_socket::parse(&text);
        text.truncate(at);
        prop_assert!(control_socket::parse(&text).is_err());
    }

    #[test]
    fn no_command_leaves_a_route_without_live_target(commands in proptest::collection::vec(command(), 1..30)) {
        let mut state = State::default();
        for command in commands {
            let Ok(next) = state.after(&command, 1_000) else { continue };
            prop_assert!(next.verify().is_ok());
            for (service, current) in &state.services {
                let has_live_target = |service: &deployer::proxy::state::ServiceState| {
                    service.targets.iter().any(|target| target.weight > 0)
                };
                let removed = matches!(&command, Command::RouteRemove { service: removed, .. } if removed == service);
                if has_live_target(current) && !removed {
                    prop_assert!(has_live_target(&next.services[service]), "{:?}", command);
                }
                let epoch = next.services.get(service).map_or(u64::MAX, |next| next.epoch);
                prop_assert!(epoch >= current.epoch);
            }
            state = next;
        }
    }

    #[test]
    fn any_bytes_as_a_state(text in ".{0,300}") {
        prop_assert!(parse(&text).is_err());
    }

    #[test]
    fn a_damaged_state_is_never_read_as_another(
        commands in proptest::collection::vec(command(), 1..10), at in any::<usize>(), byte in any::<u8>()
    ) {
        let mut state = State::default();
        for command in commands {
            state = state.after(&command, 1_000).unwrap_or(state);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        StateFile::new(path.clone()).save(&state).unwrap();
        let mut text = std::fs::read(&path).unwrap();
        let whole = String::from_utf8(text.clone()).unwrap();
        prop_assert_eq!(&parse(&whole).unwrap(), &state);
        let at = at % text.len();
        prop_assert!(parse(&String::from_utf8_lossy(&text[..at])).is_err());
        text[at] = byte;
        if let Ok(read) = parse(&String::from_utf8_lossy(&text)) {
            prop_assert_eq!(read, state);
        }
    }
}
