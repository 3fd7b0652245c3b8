//! The end-to-end tests: the real binary, real files, real sockets, real processes.

mod support;
