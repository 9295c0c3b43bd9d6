//! Test PKI and scripted peers.
