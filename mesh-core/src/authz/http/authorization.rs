use super::compile::{Compiled, Mesh, compile};
use super::policy::AuthorizationPolicy;
use super::problem::Problem;
use crate::authz::rbac::{Explanation, Facts, FilterRules, RbacFilter, Verdict};

/// Policies, compiled and indexed: what answers requests without external authorizers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorization {
    filters: Vec<FilterRules>,
    problems: Vec<Problem>,
}

impl Authorization {
    /// Compiles the policies that apply to some requests. What CUSTOM policies match is denied, whatever authorizers there
    /// are: nobody would ask them.
    #[must_use]
    pub fn compile(policies: &[AuthorizationPolicy], mesh: &Mesh) -> Self {
        let alone = Mesh { authorizers: [].into(), ..mesh.clone() };
        let compiled = compile(policies, &alone);
        let filters = compiled.filters().cloned().map(FilterRules::new).collect();
        let Compiled { problems, .. } = compiled;
        Self { filters, problems }
    }

    /// The filters in the order in which requests pass them.
    #[must_use]
    pub fn filters(&self) -> &[FilterRules] {
        &self.filters
    }

    /// What of the policies could not be understood.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The verdict of the first filter that denies, or else of the last. Does not allocate.
    #[must_use]
    pub fn evaluate(&self, facts: &Facts<'_>) -> Option<Verdict> {
        let mut last = None;
        for filter in &self.filters {
            let verdict = filter.evaluate(facts);
            if matches!(verdict, Verdict::Denied(_)) {
                return Some(verdict);
            }
            last = Some(verdict);
        }
        last
    }

    /// What every policy that is enforced has to say, filter by filter. For `explain` calls and tests; it allocates.
    #[must_use]
    pub fn explain(&self, facts: &Facts<'_>) -> Vec<Explanation> {
        self.filters.iter().filter_map(FilterRules::rules).map(|rules| rules.explain(facts)).collect()
    }
}

impl From<RbacFilter> for Authorization {
    fn from(filter: RbacFilter) -> Self {
        Self { filters: vec![FilterRules::new(filter)], problems: Vec::new() }
    }
}
