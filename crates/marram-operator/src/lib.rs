//! The operator: it runs Marram clusters on Kubernetes. A person writes a `MarramCluster`; the operator makes
//! the objects that it needs, founds the cluster once, and from then on changes it one step at a time.
//!
//! ```text
//! api         the resources that people write and read        crdgen   their definitions as YAML
//! names       what the objects of a cluster are called        build    these objects, as they are applied
//! view        what was seen (plain data)                      step     what to do next (pure)
//! replicas    how many pods there are (pure)                  report   what is said of it all (pure)
//! tenant      buckets and access keys (pure)                  gateway  gateways of their own (pure)
//! size        sizes of volumes (pure)
//! certificates   the API's certificates and their CA           control  the controller, with all side effects
//! ```
//!
//! It knows clusters by their API only, and does nothing that a person could not do with `kubectl` and
//! `marram admin`.

pub mod api;
pub mod build;
pub mod certificates;
pub mod control;
pub mod crdgen;
mod fault;
pub mod gateway;
pub mod names;
pub mod replicas;
pub mod report;
pub mod size;
pub mod step;
pub mod tenant;
pub mod view;
