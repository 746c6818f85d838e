//! Who may deploy.

use super::Binder;
use crate::{
    definition::{Spanned, TrustedKey},
    error::Result,
    limits::TRUSTED_KEYS_MAX,
    trust::{Policy, public_key},
};

impl Binder<'_> {
    /// Whose signatures count, and whether there has to be one.
    pub(super) fn trust(&self) -> Result<Policy> {
        let Some(trust) = &self.definition.trust else {
            return Ok(Policy::default());
        };
        if let Some(keys) = &trust.keys {
            let count = keys.get_ref().len();
            if !(1..=TRUSTED_KEYS_MAX).contains(&count) {
                let message = format!(
                    "`trust.keys` has {count} keys; accepted are 1 to {TRUSTED_KEYS_MAX}, and no `keys` at all where each host says \
                     whom it trusts"
                );
                return Err(self.error(keys.span(), message));
            }
            self.check_keys(keys.get_ref())?;
        }
        Ok(Policy::from(trust))
    }

    fn check_keys(&self, keys: &[Spanned<TrustedKey>]) -> Result<()> {
        for (at, placed) in keys.iter().enumerate() {
            let (key, name) = (placed.get_ref().key(), placed.get_ref().name());
            public_key(key).map_err(|reason| self.error(placed.span(), format!("`trust.keys`: {reason}")))?;
            if let Some(name) = name {
                self.check_name_at(name, placed.span(), "the name of a key")?;
            }
            let before = || keys.iter().take(at).map(Spanned::get_ref);
            if before().any(|other| other.key() == key) {
                return Err(self.error(placed.span(), format!("`trust.keys` has the key {key} twice")));
            }
            if let Some(name) = name.filter(|_| before().any(|other| other.name() == name)) {
                return Err(self.error(placed.span(), format!("`trust.keys` has the name \"{name}\" twice")));
            }
        }
        Ok(())
    }
}
