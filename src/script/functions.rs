//! Registration of functions in the module that all engines share. A function finds the host of its run by the call.

use std::sync::{Arc, Weak};

use rhai::{Dynamic, Engine, EvalAltResult, FuncRegistration, Module, NativeCallContext, RhaiNativeFunc, Variant};

use super::host::{Host, Rhai};

/// The tag of every call of an engine. Weak, because closures stored in the host carry it too.
#[derive(Clone)]
struct HostTag(Weak<Host>);

/// Connects the functions of the shared module to `host` when `engine` calls them.
pub fn attach_host(engine: &mut Engine, host: &Arc<Host>) {
    engine.set_default_tag(Dynamic::from(HostTag(Arc::downgrade(host))));
}

/// Returns the host of the run that makes this call.
///
/// # Errors
/// Fails if the run has ended.
pub fn host(context: &NativeCallContext) -> Rhai<Arc<Host>> {
    let host = context.tag().and_then(|tag| tag.read_lock::<HostTag>()).and_then(|tag| tag.0.upgrade());
    host.ok_or_else(|| EvalAltResult::ErrorTerminated(Dynamic::UNIT, context.call_position()).into())
}

/// Adds functions to a module.
pub trait Functions {
    /// Adds a function that scripts call without a namespace.
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
