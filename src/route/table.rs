//! The compiled table: hosts, then paths, then methods (contract section 5, "Precedence").

use http::{HeaderValue, Method};

use crate::config::Config;
use crate::words::RouteId;

pub struct Table {
    _private: (),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Route(RouteId),
    /// The methods of all routes that fit host and path, ready for `Allow`.
    MethodNotAllowed(HeaderValue),
    Unknown,
}

impl Table {
    pub fn compile(_config: &Config) -> Table {
        todo!()
    }

    /// `host`: lower case, no port. `path`: canonical.
    pub fn find(&self, _listener: &str, _host: &[u8], _path: &[u8], _method: &Method) -> Found {
        todo!()
    }
}
