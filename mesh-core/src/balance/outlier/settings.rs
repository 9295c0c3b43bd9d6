use std::time::Duration;

/// When an endpoint is ejected (`envoy.config.cluster.v3.OutlierDetection`). Percentages are whole numbers from 0 to 100;
/// the `enforcing_` ones are the probability that a detection has an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlierSettings {
    /// Time between two ticks. Default 10 s.
    pub interval: Duration,
    /// How long the first ejection lasts; the nth lasts n times as long. Default 30 s.
    pub base_ejection_time: Duration,
    /// No ejection lasts longer. Not below `base_ejection_time`. Default 300 s.
    pub max_ejection_time: Duration,
    /// Up to this much is added to an ejection. Default 0.
    pub max_ejection_jitter: Duration,
    /// No more than this percentage of the cluster is ejected at once. Default 10.
    pub max_ejection_percent: u32,
    /// Whether one endpoint may be ejected whatever `max_ejection_percent` says. Default: no.
    pub always_eject_one: bool,
    /// Whether an active check that passes ends an ejection. Default: yes.
    pub passing_check_unejects: bool,
    /// Whether failures to reach an endpoint are counted apart from what it answers. Default: no.
    pub split_local_origin: bool,
    /// So many answers of 500 and above in a row; 0 turns it off. Default 5.
    pub consecutive_5xx: u32,
    /// Default 100.
    pub enforcing_consecutive_5xx: u32,
    /// So many answers of 502, 503 or 504 in a row; 0 turns it off. Default 5.
    pub consecutive_gateway_failure: u32,
    /// Default 0.
    pub enforcing_consecutive_gateway_failure: u32,
    /// So many failures to reach it in a row, if they are counted apart; 0 turns it off. Default 5.
    pub consecutive_local_origin_failure: u32,
    /// Default 100.
    pub enforcing_consecutive_local_origin_failure: u32,
    /// So many endpoints with enough requests are needed to compare rates of success. Default 5.
    pub success_rate_minimum_hosts: u32,
    /// So many requests in an interval are enough. Default 100.
    pub success_rate_request_volume: u32,
    /// An endpoint is detected when its rate is below mean − stdev × this / 1000. Default 1900.
    pub success_rate_stdev_factor: u32,
    /// Default 100.
    pub enforcing_success_rate: u32,
    /// Default 100.
    pub enforcing_local_origin_success_rate: u32,
    /// An endpoint is detected when this percentage of its requests failed. Default 85.
    pub failure_percentage_threshold: u32,
    /// So many endpoints with enough requests are needed. Default 5.
    pub failure_percentage_minimum_hosts: u32,
    /// So many requests in an interval are enough. Default 50.
    pub failure_percentage_request_volume: u32,
    /// Default 0.
    pub enforcing_failure_percentage: u32,
    /// Default 0.
    pub enforcing_failure_percentage_local_origin: u32,
}

impl OutlierSettings {
    /// Whether this can be used.
    ///
    /// # Errors
    ///
    /// * `interval`, `base_ejection_time` or `max_ejection_time` is zero,
    /// * `max_ejection_time` is below `base_ejection_time`,
    /// * a percentage is above 100.
    pub fn validate(&self) -> Result<(), InvalidOutlierSettings> {
        let durations = [
            ("interval", self.interval),
            ("base_ejection_time", self.base_ejection_time),
            ("max_ejection_time", self.max_ejection_time),
        ];
        if let Some((field, _)) = durations.into_iter().find(|(_, duration)| duration.is_zero()) {
            return Err(InvalidOutlierSettings::Zero { field });
        }
        if self.max_ejection_time < self.base_ejection_time {
            return Err(InvalidOutlierSettings::MaxBelowBase);
        }
        let percentages = [
            ("max_ejection_percent", self.max_ejection_percent),
            ("enforcing_consecutive_5xx", self.enforcing_consecutive_5xx),
            ("enforcing_consecutive_gateway_failure", self.enforcing_consecutive_gateway_failure),
            ("enforcing_consecutive_local_origin_failure", self.enforcing_consecutive_local_origin_failure),
            ("enforcing_success_rate", self.enforcing_success_rate),
            ("enforcing_local_origin_success_rate", self.enforcing_local_origin_success_rate),
            ("failure_percentage_threshold", self.failure_percentage_threshold),
            ("enforcing_failure_percentage", self.enforcing_failure_percentage),
            ("enforcing_failure_percentage_local_origin", self.enforcing_failure_percentage_local_origin),
        ];
        match percentages.into_iter().find(|(_, percentage)| *percentage > 100) {
            Some((field, _)) => Err(InvalidOutlierSettings::Percentage { field }),
            None => Ok(()),
        }
    }
}

impl Default for OutlierSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_jitter: Duration::ZERO,
            max_ejection_percent: 10,
            always_eject_one: false,
            passing_check_unejects: true,
            split_local_origin: false,
            consecutive_5xx: 5,
            enforcing_consecutive_5xx: 100,
            consecutive_gateway_failure: 5,
            enforcing_consecutive_gateway_failure: 0,
            consecutive_local_origin_failure: 5,
            enforcing_consecutive_local_origin_failure: 100,
            success_rate_minimum_hosts: 5,
            success_rate_request_volume: 100,
            success_rate_stdev_factor: 1900,
            enforcing_success_rate: 100,
            enforcing_local_origin_success_rate: 100,
            failure_percentage_threshold: 85,
            failure_percentage_minimum_hosts: 5,
            failure_percentage_request_volume: 50,
            enforcing_failure_percentage: 0,
            enforcing_failure_percentage_local_origin: 0,
        }
    }
}

/// Settings of outlier detection that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOutlierSettings {
    /// A duration must be above zero.
    #[error("{field} is zero")]
    Zero {
        /// The setting.
        field: &'static str,
    },
    /// The longest ejection is shorter than the first.
    #[error("max_ejection_time is below base_ejection_time")]
    MaxBelowBase,
    /// A percentage is above 100.
    #[error("{field} is above 100")]
    Percentage {
        /// The setting.
        field: &'static str,
    },
}
