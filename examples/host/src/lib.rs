//! What the reference binaries share: settings, admin endpoint, telemetry, signals.
