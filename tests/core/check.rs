//! The diagnostics of `deployer check`.

use std::sync::Arc;

use deployer::script::check::check;
use deployer::script::source::{Source, SourceLoader};
use insta::assert_snapshot;

use crate::test_run::{Modules, render};

pub fn loader(modules: &[(&str, &str)]) -> Arc<dyn SourceLoader> {
    Arc::new(Modules(modules.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()))
}

pub fn checked(script: &str, modules: &[(&str, &str)]) -> String {
    let found = check(Source::new("test.rhai", script), &loader(modules));
    trim_report(&found.iter().map(|diagnostic| render(diagnostic)).collect::<Vec<_>>().join("\n"))
}

pub fn trim_report(text: &str) -> String {
    text.lines().filter(|line| !line.trim().is_empty()).map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_unknown_function() {
    assert_snapshot!(checked(r#"let x = 1;
dokcer_run(#{name: "web"});"#, &[]), @r#"
    deployer::script::unknown_function
      × there is no function `dokcer_run`
       ╭─[test.rhai:2:1]
     1 │ let x = 1;
     2 │ dokcer_run(#{name: "web"});
       · ─────┬────
       ·      ╰── unknown function
       ╰────
      help: did you mean `docker_run`?
    "#);
}

#[test]
fn a_wrong_number_of_arguments() {
    assert_snapshot!(checked(r#"docker_stop();"#, &[]), @r#"
    deployer::script::wrong_arguments
      × `docker_stop` takes 1 or 2 arguments, not 0
       ╭─[test.rhai:1:1]
     1 │ docker_stop();
       · ─────┬─────
       ·      ╰── 0 given
       ╰────
      help: usage: docker_stop(container, #{grace, signal, missing_ok})
    "#);
}

#[test]
fn an_unknown_option() {
    assert_snapshot!(checked(r#"docker_stop("a", #{grcae: "1s"});"#, &[]), @r#"
    deployer::script::unknown_option
      × `docker_stop` has no option `grcae`
       ╭─[test.rhai:1:20]
     1 │ docker_stop("a", #{grcae: "1s"});
       ·                    ──┬──
       ·                      ╰── not an option
       ╰────
      help: did you mean `grace`?
    "#);
}

#[test]
fn an_undeclared_parameter() {
    assert_snapshot!(checked(r#"let p = params(#{
    port: optional("int", 1, "x"),
    health: #{ path: optional("string", "/", "p") },
});
log(p.prot + p.health.pth);"#, &[]), @r#"
    deployer::script::undeclared_parameter
      × `prot` is not declared in `params`
       ╭─[test.rhai:5:7]
     4 │ });
     5 │ log(p.prot + p.health.pth);
       ·       ──┬─
       ·         ╰── not declared
       ╰────
      help: did you mean `port`?
    deployer::script::undeclared_parameter
      × `pth` is not declared in `params`
       ╭─[test.rhai:5:23]
     4 │ });
     5 │ log(p.prot + p.health.pth);
       ·                       ─┬─
       ·                        ╰── not declared
       ╰────
      help: did you mean `path`?
    "#);
}

#[test]
fn an_unresolved_module_is_reported_once() {
    assert_snapshot!(checked(r#"import "std/releas" as r;
r::live("x");"#, &[]), @r#"
    deployer::script::unknown_module
      × there is no module `std/releas`: no file `std/releas.rhai`; did you mean `std/release`?
       ╭─[test.rhai:1:1]
     1 │ import "std/releas" as r;
       · ───┬──
       ·    ╰── imported here
     2 │ r::live("x");
       ╰────
    "#);
}

#[test]
fn a_circular_import() {
    assert_snapshot!(checked(r#"import "a" as a;
a::f();"#, &[("a", r#"import "b" as b;
fn f() { b::g() }"#), ("b", r#"import "a" as a;
fn g() { a::f() }"#)]), @r#"
    deployer::script::circular_import
      × modules import each other: `a` -> `b` -> `a`
       ╭─[b:1:1]
     1 │ import "a" as a;
       · ───┬──
       ·    ╰── closes the cycle
     2 │ fn g() { a::f() }
       ╰────
      help: move what both need into a third module
    "#);
}

#[test]
fn a_syntax_error() {
    assert_snapshot!(checked(r#"let x = (1 + ;"#, &[]), @r#"
    deployer::script::syntax
      × unexpected ';'
       ╭─[test.rhai:1:14]
     1 │ let x = (1 + ;
       ·              ┬
       ·              ╰── here
       ╰────
    "#);
}

#[test]
fn an_unclosed_block() {
    assert_snapshot!(checked(r#"if true { log(1);"#, &[]), @r#"
    deployer::script::syntax
      × expecting '}' to terminate this block
       ╭─[test.rhai:1:18]
     1 │ if true { log(1);
       ╰────
    "#);
}

#[test]
fn an_unclosed_string() {
    assert_snapshot!(checked(r#"let s = "abc;"#, &[]), @r#"
    deployer::script::syntax
      × this string has no closing quote
       ╭─[test.rhai:1:9]
     1 │ let s = "abc;
       ·         ──┬──
       ·           ╰── here
       ╰────
    "#);
}

#[test]
fn an_error_in_a_module() {
    assert_snapshot!(checked(r#"import "a" as a;
a::f();"#, &[("a", r#"fn f() {
  dokcer_list()
}"#)]), @r#"
    deployer::script::unknown_function
      × there is no function `dokcer_list`
       ╭─[a:2:3]
     1 │ fn f() {
     2 │   dokcer_list()
       ·   ─────┬─────
       ·        ╰── unknown function
     3 │ }
       ╰────
      help: did you mean `docker_list`?
    "#);
}

#[test]
fn a_syntax_error_in_a_module() {
    assert_snapshot!(checked(r#"import "a" as a;
a::f();"#, &[("a", r#"fn f() {
  1 +
}"#)]), @r#"
    deployer::script::syntax
      × unexpected '}'
       ╭─[a:3:1]
     2 │   1 +
     3 │ }
       · ┬
       · ╰── here
       ╰────
    "#);
}

#[test]
fn a_function_that_a_module_does_not_have() {
    assert_snapshot!(checked(r#"import "a" as a;
a::ff();
a::f(1);"#, &[("a", r#"fn f() { 1 }"#)]), @r#"
    deployer::script::unknown_function
      × there is no function `a::ff`
       ╭─[test.rhai:2:4]
     1 │ import "a" as a;
     2 │ a::ff();
       ·    ─┬
       ·     ╰── unknown function
     3 │ a::f(1);
       ╰────
      help: did you mean `a::f`?
    deployer::script::wrong_arguments
      × `a::f` takes 0 arguments, not 1
       ╭─[test.rhai:3:4]
     2 │ a::ff();
     3 │ a::f(1);
       ·    ┬
       ·    ╰── 1 given
       ╰────
    "#);
}

#[test]
fn a_captured_loop_variable() {
    assert_snapshot!(checked(r#"let l = [];
for i in 0..3 { l.push(|| i); }"#, &[]), @r#"
    deployer::script::captured_loop_variable
      ⚠ this closure captures the loop variable `i`: every closure will see its last value
       ╭─[test.rhai:2:27]
     1 │ let l = [];
     2 │ for i in 0..3 { l.push(|| i); }
       ·                           ┬
       ·                           ╰── the loop variable
       ╰────
      help: copy it first, `let copy = i;`, and use `copy` in the closure
    "#);
}

#[test]
fn an_unknown_variable() {
    assert_snapshot!(checked(r#"let service = 1;
log(servce);"#, &[]), @r#"
    deployer::script::unknown_name
      × there is no variable `servce`
       ╭─[test.rhai:2:5]
     1 │ let service = 1;
     2 │ log(servce);
       ·     ───┬──
       ·        ╰── here
       ╰────
      help: did you mean `service`?
    "#);
}

#[test]
fn a_variable_outside_the_scope_of_a_function() {
    assert_snapshot!(checked(r#"let service = 1;
fn f() { service }"#, &[]), @r#"
    deployer::script::unknown_name
      × there is no variable `service`
       ╭─[test.rhai:2:10]
     1 │ let service = 1;
     2 │ fn f() { service }
       ·          ───┬───
       ·             ╰── here
       ╰────
      help: functions cannot see the variables of the script: pass it as an argument
    "#);
}

#[test]
fn a_module_that_is_not_imported() {
    assert_snapshot!(checked(r#"release::live("web");"#, &[]), @r#"
    deployer::script::unknown_name
      × there is no module `release`
       ╭─[test.rhai:1:1]
     1 │ release::live("web");
       · ───┬───
       ·    ╰── here
       ╰────
      help: import it first: `import "std/release" as release;`
    "#);
}

#[test]
fn a_reserved_word_as_a_key() {
    assert_snapshot!(checked(r#"docker_list(#{default: 1});"#, &[]), @r#"
    deployer::script::syntax
      × `default` is a reserved word
       ╭─[test.rhai:1:15]
     1 │ docker_list(#{default: 1});
       ·               ───┬───
       ·                  ╰── here
       ╰────
      help: quote it as a map key: `#{"default": ...}`, `map["default"]`; otherwise use another name
    "#);
}

#[test]
fn a_reserved_word_as_a_property() {
    assert_snapshot!(checked(r#"let p = #{};
log(p.with);"#, &[]), @r#"
    deployer::script::syntax
      × `with` is a reserved word
       ╭─[test.rhai:2:7]
     1 │ let p = #{};
     2 │ log(p.with);
       ·       ──┬─
       ·         ╰── here
       ╰────
      help: quote it as a map key: `#{"with": ...}`, `map["with"]`; otherwise use another name
    "#);
}

#[test]
fn a_reserved_word_as_a_name() {
    assert_snapshot!(checked(r#"let new = 1;"#, &[]), @r#"
    deployer::script::syntax
      × `new` is a reserved word
       ╭─[test.rhai:1:5]
     1 │ let new = 1;
       ·     ─┬─
       ·      ╰── here
       ╰────
      help: quote it as a map key: `#{"new": ...}`, `map["new"]`; otherwise use another name
    "#);
}

#[test]
fn single_quotes() {
    assert_snapshot!(checked(r#"let x = 'abc';"#, &[]), @r#"
    deployer::script::syntax
      × 'abc' is not a single character
       ╭─[test.rhai:1:9]
     1 │ let x = 'abc';
       ·         ┬
       ·         ╰── here
       ╰────
      help: write text in double quotes
    "#);
}

#[test]
fn a_closure_called_by_its_name() {
    assert_snapshot!(checked(r#"let check = |x| x;
check(1);"#, &[]), @r#"
    deployer::script::unknown_function
      × there is no function `check`
       ╭─[test.rhai:2:1]
     1 │ let check = |x| x;
     2 │ check(1);
       · ──┬──
       ·   ╰── unknown function
       ╰────
      help: call a closure in a variable with `check.call(...)`
    "#);
}

#[test]
fn an_unknown_parameter_type() {
    assert_snapshot!(checked(r#"params(#{a: required("strng", "x")});"#, &[]), @r#"
    deployer::script::invalid
      × `strng` is not a parameter type; did you mean `string`?
       ╭─[test.rhai:1:13]
     1 │ params(#{a: required("strng", "x")});
       ·             ────┬───
       ·                 ╰── here
       ╰────
    "#);
}

#[test]
fn valid_scripts_have_no_diagnostics() {
    for script in [
        "let hooks = #{before: || log(1)}; hooks.before();",
        "let f = |x| x; f.call(1); let g = Fn(\"log\"); g.call(2);",
        "let x = [1, 2].map(|v| v + 1).filter(|v| v > 1).len(); log(`${x}`);",
        "switch 1 { 1 => log(1), _ => log(2) }",
        "import \"std/release\" as release; release::live(\"web\");",
    ] {
        assert_eq!(checked(script, &[]), "", "{script}");
    }
}
