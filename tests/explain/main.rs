//! `darvazeh explain` and `expect:`, driven as an operator drives them: the real binary, its text and its exit code.

mod decisions;
mod expectations;
mod privacy;
mod same_answer;
mod support;
mod token_file;
