//! How a run reports errors in its script: the line of the script first, then the line of the module.

use insta::assert_snapshot;

use crate::check::trim_report;
use crate::test_run::test_run;

fn report_of(script: &str, modules: &[(&str, &str)]) -> String {
    trim_report(
        &modules.iter().fold(test_run(script), |test_run, (name, text)| test_run.module(name, text)).run().report(),
    )
}

#[test]
fn a_runtime_error_in_a_module() {
    let lib = "fn spec(p) {\n    let port = 1;\n    #{name: p.service}\n}";
    assert_snapshot!(report_of("import \"lib\" as lib;\n\nlet x = lib::spec(#{});", &[("lib", lib)]), @r#"
    deployer::script::unknown_key
      × there is no key `service`
       ╭─[test.rhai:3:14]
     2 │
     3 │ let x = lib::spec(#{});
       ·              ──┬─
       ·                ╰── in the call to `spec`
       ╰────
    Advice: deployer::script::below
      ☞ in module `lib`
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
    assert_snapshot!(report_of(r#"import "a" as a;
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
       ·    ╰── in the call to `f`
       ╰────
      help: list the containers: `docker_list(#{all: true})`
    Advice: deployer::script::below
      ☞ in module `a`
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
    assert_snapshot!(report_of(r#"let n = 1;
n + #{}"#, &[]), @r#"
    deployer::script::unknown_function
      × `+` is not defined for an integer and a map
       ╭─[test.rhai:2:3]
     1 │ let n = 1;
     2 │ n + #{}
       ·   ┬
       ·   ╰── here
       ╰────
    "#);
}

#[test]
fn a_key_of_a_unit_value() {
    assert_snapshot!(report_of(r#"let x = docker_inspect("web", #{missing_ok: true});
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
fn a_missing_key() {
    assert_snapshot!(report_of(r#"let m = #{};
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
fn a_syntax_error_in_an_imported_module() {
    assert_snapshot!(report_of(r#"import "a" as a;"#, &[("a", r#"let x = ;"#)]), @r#"
    deployer::script::syntax
      × unexpected ';'
       ╭─[test.rhai:1:8]
     1 │ import "a" as a;
       ·        ─┬─
       ·         ╰── in the import of `a`
       ╰────
    Advice: deployer::script::below
      ☞ in module `a`
       ╭─[a:1:9]
     1 │ let x = ;
       ·         ┬
       ·         ╰── here
       ╰────
    "#);
}

#[test]
fn a_reserved_word_in_an_imported_module() {
    assert_snapshot!(report_of(r#"import "a" as a;"#, &[("a", r#"let x = #{use: 1};"#)]), @r#"
    deployer::script::syntax
      × `use` is a reserved word
       ╭─[test.rhai:1:8]
     1 │ import "a" as a;
       ·        ─┬─
       ·         ╰── in the import of `a`
       ╰────
      help: quote it as a map key: `#{"use": ...}`, `map["use"]`; otherwise use another name
    Advice: deployer::script::below
      ☞ in module `a`
       ╭─[a:1:11]
     1 │ let x = #{use: 1};
       ·           ─┬─
       ·            ╰── here
       ╰────
    "#);
}
