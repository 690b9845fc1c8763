//! The Rhai engine of one run: packages, limits, and every function that scripts may call. An engine is cheap to make: a
//! search makes tens of thousands.

use std::sync::{Arc, LazyLock};

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage,
    BasicStringPackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{Dynamic, Engine, Module, NativeCallContext, Position, Shared};

use super::canary;
use super::catalogue::catalogue;
use super::control;
use super::functions::{self, Functions};
use super::host::{Halt, Host, Rhai};
use super::modules::Resolver;
use super::primitive::Primitive;
use super::secret::{self, SecretText};
use super::source::SourceLoader;
use crate::base::text::Text;
use crate::effect::{EffectError, ErrorKind};

/// How deep functions may call each other.
const CALL_LEVELS: usize = 64;
/// How deep expressions may nest, outside and inside of functions.
const EXPR_DEPTHS: (usize, usize) = (128, 64);
/// Most bytes of one string.
const STRING_SIZE: usize = 16 << 20;
/// Most items of one list, most keys of one map.
const ITEMS: usize = 100_000;
/// Most operations before `params`, when only the declaration is wanted.
const DECLARING_OPERATIONS: u64 = 5_000_000;
const MOST_FUNCTIONS: usize = 2_000;
const MODULES: usize = 200;
const VARIABLES: usize = 2_000;

/// What the language itself brings along, made once for all engines. Not among them: the packages of the language core
/// and of time, whose `sleep` and `timestamp` would pass the gateway by.
static PACKAGES: LazyLock<[Shared<Module>; 9]> = LazyLock::new(|| {
    [
        ArithmeticPackage::new().as_shared_module(),
        LogicPackage::new().as_shared_module(),
        BasicStringPackage::new().as_shared_module(),
        MoreStringPackage::new().as_shared_module(),
        BasicIteratorPackage::new().as_shared_module(),
        BasicArrayPackage::new().as_shared_module(),
        BasicMapPackage::new().as_shared_module(),
        BasicMathPackage::new().as_shared_module(),
        BasicFnPackage::new().as_shared_module(),
    ]
});

/// Primitives, words, and what can be done with secrets.
static FUNCTIONS: LazyLock<Shared<Module>> = LazyLock::new(|| {
    let mut module = Module::new();
    secret::register(&mut module);
    control::register(&mut module);
    canary::register(&mut module);
    for primitive in catalogue().values() {
        register(&mut module, primitive);
    }
    module.build_index();
    module.into()
});

/// An engine whose functions talk to `host`.
pub fn engine(host: &Arc<Host>, loader: &Arc<dyn SourceLoader>) -> Engine {
    let mut engine = Engine::new_raw();
    for package in PACKAGES.iter() {
        engine.register_global_module(package.clone());
    }
    // The last one is asked first: else `log(1.5)` is the logarithm of the language's own packages.
    engine.register_global_module(FUNCTIONS.clone());
    functions::belongs_to(&mut engine, host);
    limit(&mut engine);
    engine.set_strict_variables(true);
    engine.set_fail_on_invalid_map_property(true);
    engine.set_module_resolver(Resolver::new(host.clone(), loader.clone()));
    secret::name_type(&mut engine);
    control::prepare(&mut engine, host);
    let watched = host.clone();
    engine.on_progress(move |operations| {
        if watched.gateway().is_none() && operations > DECLARING_OPERATIONS {
            let error = EffectError::new(ErrorKind::Invalid, "the script does not come to `params`")
                .hint("make `let p = params(#{...});` the first statement of the script");
            drop(watched.halt(Halt::Fatal(error), Position::NONE));
        }
        let allowed = watched.gateway().and_then(|gateway| gateway.simulation().operations());
        if allowed.is_some_and(|allowed| operations > allowed) {
            let error = EffectError::new(ErrorKind::Timeout, "the script goes on and on");
            drop(watched.halt(Halt::Fatal(error), Position::NONE));
        }
        if watched.gateway().is_some_and(|gateway| gateway.is_stopped()) {
            let error = EffectError::new(ErrorKind::Cancelled, "the run was cancelled").not_applied();
            drop(watched.halt(Halt::Fatal(error), Position::NONE));
        }
        watched.is_halted().then_some(Dynamic::UNIT)
    });
    engine
}

fn limit(engine: &mut Engine) {
    engine.set_max_call_levels(CALL_LEVELS);
    engine.set_max_expr_depths(EXPR_DEPTHS.0, EXPR_DEPTHS.1);
    engine.set_max_string_size(STRING_SIZE);
    engine.set_max_array_size(ITEMS);
    engine.set_max_map_size(ITEMS);
    engine.set_max_functions(MOST_FUNCTIONS);
    engine.set_max_modules(MODULES);
    engine.set_max_variables(VARIABLES);
}

/// One function for each number of arguments that the primitive takes.
fn register(module: &mut Module, primitive: &'static Primitive) {
    let perform = move |context: &NativeCallContext, args: &[Dynamic]| -> Rhai<Dynamic> {
        let host = functions::host(context)?;
        let position = context.call_position();
        let effect = primitive.effect(args).map_err(|error| host.raise(position, primitive.name, error))?;
        let value = host.perform(context, effect)?;
        // The one reply that is not what the world said: the secret itself stays in the world.
        Ok(match (primitive.name, args.first()) {
            ("secret", Some(name)) => Dynamic::from(SecretText(Text::secret(name.to_string()))),
            _ => value,
        })
    };
    for arity in primitive.arities() {
        match arity {
            0 => module.add(primitive.name, move |context: NativeCallContext| perform(&context, &[])),
            1 => module.add(primitive.name, move |context: NativeCallContext, a: Dynamic| perform(&context, &[a])),
            2 => module.add(primitive.name, move |context: NativeCallContext, a: Dynamic, b: Dynamic| {
                perform(&context, &[a, b])
            }),
            _ => module.add(primitive.name, move |context: NativeCallContext, a: Dynamic, b: Dynamic, c: Dynamic| {
                perform(&context, &[a, b, c])
            }),
        };
    }
}
