//! the application load balancer.
