//! The Rhai engine of one run: packages, limits and functions. An engine is cheap, because `deployer verify` creates tens
//! of thousands.

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
use super::secret_functions;
use super::secret_text::SecretText;
use super::source::SourceLoader;
use crate::base::text::Text;
use crate::effect::{EffectError, ErrorKind};

/// Maximum depth of function calls.
const MAX_CALL_LEVELS: usize = 64;
/// Maximum nesting of expressions, outside and inside of functions.
const MAX_EXPR_DEPTHS: (usize, usize) = (128, 64);
/// Maximum size of a string, in bytes.
const MAX_STRING_SIZE: usize = 16 << 20;
/// Maximum number of items in a list and of keys in a map.
const MAX_ITEMS: usize = 100_000;
/// Maximum number of operations before `params` in declaration mode.
const MAX_DECLARING_OPERATIONS: u64 = 5_000_000;
/// Maximum number of functions in a script.
const MAX_FUNCTIONS: usize = 2_000;
/// Maximum number of modules that a script loads.
const MAX_MODULES: usize = 200;
/// Maximum number of variables in scope.
const MAX_VARIABLES: usize = 2_000;

/// Rhai's own packages, shared by all engines. The core and time packages are left out, because their `sleep` and
/// `timestamp` would bypass the gateway.
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

/// Primitives, control functions and operations on secrets, shared by all engines.
static FUNCTIONS: LazyLock<Shared<Module>> = LazyLock::new(|| {
    let mut module = Module::new();
    secret_functions::register(&mut module);
    control::register(&mut module);
    canary::register(&mut module);
    for primitive in catalogue().values() {
        register(&mut module, primitive);
    }
    module.build_index();
    module.into()
});

/// Creates an engine whose functions use `host`.
pub fn engine(host: &Arc<Host>, loader: &Arc<dyn SourceLoader>) -> Engine {
    let mut engine = Engine::new_raw();
    for package in PACKAGES.iter() {
        engine.register_global_module(package.clone());
    }
    // Registered last, because Rhai searches the last module first: `log(1.5)` must not be Rhai's logarithm.
    engine.register_global_module(FUNCTIONS.clone());
    functions::attach_host(&mut engine, host);
    limit(&mut engine);
    engine.set_strict_variables(true);
    engine.set_fail_on_invalid_map_property(true);
    engine.set_module_resolver(Resolver::new(host.clone(), loader.clone()));
    secret_functions::name_type(&mut engine);
    control::prepare(&mut engine, host);
    let watched = host.clone();
    engine.on_progress(move |operations| {
        if watched.gateway().is_none() && operations > MAX_DECLARING_OPERATIONS {
            let error = EffectError::new(ErrorKind::Invalid, "the script does not reach `params`")
                .hint("make `let p = params(#{...});` the first statement of the script");
            drop(watched.halt(Halt::Fatal(error), Position::NONE));
        }
        let allowed = watched.gateway().and_then(|gateway| gateway.simulation().max_operations());
        if allowed.is_some_and(|allowed| operations > allowed) {
            let error = EffectError::new(ErrorKind::Timeout, "operation limit exceeded");
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
    engine.set_max_call_levels(MAX_CALL_LEVELS);
    engine.set_max_expr_depths(MAX_EXPR_DEPTHS.0, MAX_EXPR_DEPTHS.1);
    engine.set_max_string_size(MAX_STRING_SIZE);
    engine.set_max_array_size(MAX_ITEMS);
    engine.set_max_map_size(MAX_ITEMS);
    engine.set_max_functions(MAX_FUNCTIONS);
    engine.set_max_modules(MAX_MODULES);
    engine.set_max_variables(MAX_VARIABLES);
}

/// Registers a function for each number of arguments of the primitive.
fn register(module: &mut Module, primitive: &'static Primitive) {
    let perform = move |context: &NativeCallContext, args: &[Dynamic]| -> Rhai<Dynamic> {
        let host = functions::host(context)?;
        let position = context.call_position();
        let effect = primitive.effect(args).map_err(|error| host.raise(position, primitive.name, error))?;
        let value = host.perform(context, effect)?;
        // `secret` returns a reference to the secret. Its value stays in the world.
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
