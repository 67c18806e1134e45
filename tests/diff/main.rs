//! The program's commands about configurations, run as an operator runs them: `diff`, `routes`, `top`, `completions`, `man`.

mod consequences;
mod gate;
mod precedence;
mod routes;
mod scale;
mod shell;
mod support;
mod top;
