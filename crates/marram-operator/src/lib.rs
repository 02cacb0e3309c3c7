//! The operator: it runs Marram clusters on Kubernetes.
