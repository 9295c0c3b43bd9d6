//! What the project claims about speed, measured as ratios in one run: see the programs in `benches/`.
