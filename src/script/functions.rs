//! How functions get into the module that all engines share. They are made once, and know no host: each finds the one
//! of its run by the call.

use std::sync::{Arc, Weak};

use rhai::{Dynamic, Engine, EvalAltResult, FuncRegistration, Module, NativeCallContext, RhaiNativeFunc, Variant};

use super::host::{Host, Rhai};

/// What every call of an engine carries. Weak: closures that scripts leave with their host carry it too.
#[derive(Clone)]
struct Owner(Weak<Host>);

/// Lets the functions of the shared module talk to `host` when `engine` calls them.
pub fn belongs_to(engine: &mut Engine, host: &Arc<Host>) {
    engine.set_default_tag(Dynamic::from(Owner(Arc::downgrade(host))));
}

/// The host of the run that makes this call.
///
/// # Errors
/// When there is none any more.
pub fn host(context: &NativeCallContext) -> Rhai<Arc<Host>> {
    let owner = context.tag().and_then(|tag| tag.read_lock::<Owner>()).and_then(|owner| owner.0.upgrade());
    owner.ok_or_else(|| EvalAltResult::ErrorTerminated(Dynamic::UNIT, context.call_position()).into())
}

/// What a function is added by.
pub trait Functions {
    /// Adds one that scripts call without a namespace.
    fn add<A: 'static, const N: usize, const X: bool, R, const F: bool, Func>(
        &mut self,
        name: &str,
        function: Func,
    ) -> &mut Self
    where
        R: Variant + Clone,
        Func: RhaiNativeFunc<A, N, X, R, F> + Send + Sync + 'static;
}

impl Functions for Module {
    fn add<A: 'static, const N: usize, const X: bool, R, const F: bool, Func>(
        &mut self,
        name: &str,
        function: Func,
    ) -> &mut Self
    where
        R: Variant + Clone,
        Func: RhaiNativeFunc<A, N, X, R, F> + Send + Sync + 'static,
    {
        FuncRegistration::new(name).in_global_namespace().set_into_module(self, function);
        self
    }
}
