//! Every test that needs the whole of Earmark: one binary, this file is its table of contents.

mod support;

/// The development cluster: started, adopted, kept alive.
mod embedded;
