//! Hythe for programs and agents.
