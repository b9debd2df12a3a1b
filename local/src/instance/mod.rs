//! instances: images unpacked and run.
