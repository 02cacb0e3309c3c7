//! Rules about source files, one at a time.

mod code;
mod text;

pub use code::{forbidden_words, function_sizes, pure_sources, s3_words, wire_types};
pub use text::{ascii, file_names, file_sizes, module_headers};
