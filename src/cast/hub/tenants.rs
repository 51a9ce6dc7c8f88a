//! The accounts of all tenants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::Limits;
use crate::cast::account::{Account, House, Quotas};

/// `[[tenants]]`: what one tenant may have instead of what `[quotas]` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// As in `tenant` of a key.
    pub name: String,
    #[serde(default)]
    pub quotas: Quotas,
}

/// One account each, for as long as the process runs. There are as many as the configuration has tenants, and as the
/// journal has known.
#[derive(Debug)]
pub(super) struct Tenants {
    general: Quotas,
    own: HashMap<String, Quotas>,
    accounts: Mutex<HashMap<Arc<str>, Arc<Account>>>,
    house: Arc<House>,
}

impl Tenants {
    pub(super) fn new(general: Quotas, tenants: Vec<Tenant>, limits: &Limits) -> Self {
        let own = tenants.into_iter().map(|Tenant { name, quotas }| (name, quotas.or(&general))).collect();
        let house = House::new(limits.viewers_max, limits.stream_viewers_max);
        Self { general, own, accounts: Mutex::default(), house }
    }

    pub(super) fn account(&self, tenant: &Arc<str>) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(tenant) {
            return account.clone();
        }
        let quotas = self.own.get(&**tenant).unwrap_or(&self.general);
        let account = Account::new(tenant.clone(), quotas.clone(), self.house.clone());
        accounts.insert(tenant.clone(), account.clone());
        account
    }
}
