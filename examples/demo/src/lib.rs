//! The demo: a mesh on one machine that carries, protects and refuses real traffic.
