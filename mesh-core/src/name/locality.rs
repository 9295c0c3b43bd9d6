use std::fmt;

use super::Text;

/// Where something runs: region, zone, sub-zone, each possibly empty. Written `region/zone/subzone`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// The region, such as `eu-west-1`.
    pub region: Text,
    /// The zone inside the region.
    pub zone: Text,
    /// The rack or data hall inside the zone.
    pub subzone: Text,
}

impl Locality {
    /// A locality of the three parts; leave unknown ones empty.
    #[must_use]
    pub fn new(region: &str, zone: &str, subzone: &str) -> Self {
        Self { region: region.into(), zone: zone.into(), subzone: subzone.into() }
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.region.is_empty() && self.zone.is_empty() && self.subzone.is_empty()
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.region.as_str())?;
        if !self.zone.is_empty() || !self.subzone.is_empty() {
            write!(f, "/{}", self.zone)?;
        }
        if !self.subzone.is_empty() {
            write!(f, "/{}", self.subzone)?;
        }
        Ok(())
    }
}
