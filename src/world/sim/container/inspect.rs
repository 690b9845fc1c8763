//! Lists simulated containers.

use super::has_labels;
use crate::effect::container::{Container, ListContainers};
use crate::effect::image::with_tag;
use crate::world::sim::model::container::SimContainer;
use crate::world::sim::sim_host::SimHost;

impl SimHost {
    pub(crate) fn list(&self, request: &ListContainers) -> Vec<Container> {
        let wanted = request.label_filter();
        let made_from = |container: &SimContainer, image: &String| {
            with_tag(&container.spec.image) == with_tag(image)
                || self.images.find(image).is_some_and(|found| found.id == container.image_id)
        };
        let mut found: Vec<&SimContainer> = self
            .containers
            .all()
            .filter(|container| request.all || container.is_active())
            .filter(|container| request.name.as_ref().is_none_or(|name| name == container.name()))
            .filter(|container| request.image.as_ref().is_none_or(|image| made_from(container, image)))
            .filter(|container| has_labels(&container.labels, &wanted))
            .collect();
        found.sort_by_key(|container| std::cmp::Reverse(container.number));
        found.into_iter().map(|container| self.view(container)).collect()
    }
}
