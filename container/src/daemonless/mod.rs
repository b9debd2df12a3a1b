//! Builds images from Dockerfiles that have no `RUN`, with nothing but the files.
