//! Crowds, kills and broken machines. `HYTHE_TEST_SCALE` makes them larger; 1 is what CI runs.

mod support;
