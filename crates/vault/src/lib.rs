//! Item bytes by digest (being built).
