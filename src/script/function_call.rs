//! A function call in a syntax tree.

use rhai::{ASTNode, Expr, FnCallExpr, Position, Stmt};

/// A call as it is written in a script.
pub struct FunctionCall<'a> {
    /// The name, with its namespace if it has one: `release::start`.
    pub name: String,
    /// The call itself.
    pub expression: &'a FnCallExpr,
    /// Where its name starts.
    pub position: Position,
    /// Whether it is called on a value: `list.push(1)`.
    pub is_method: bool,
}

impl<'a> FunctionCall<'a> {
    /// Returns the call that `node` is, or `None` if it is something else.
    pub fn from_node(node: &ASTNode<'a>) -> Option<Self> {
        let (expression, position, is_method) = match node {
            ASTNode::Expr(Expr::FnCall(call, position)) | ASTNode::Stmt(Stmt::FnCall(call, position)) => {
                (call.as_ref(), *position, false)
            }
            ASTNode::Expr(Expr::MethodCall(call, position)) => (call.as_ref(), *position, true),
            _ => return None,
        };
        let name = if expression.namespace.is_empty() {
            expression.name.to_string()
        } else {
            format!("{}::{}", expression.namespace, expression.name)
        };
        Some(Self { name, expression, position, is_method })
    }
}
