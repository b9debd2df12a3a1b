//! What is wrong with a project, an account or a network, and how the program says so.
