//! What a verified token says of its bearer.

use crate::auth::scope::Scope;
use crate::error::{Error, Result};
use crate::types::ids::{CompanyId, EnterpriseId, FirmId, TenantId};

/// The bearer of a verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's `iss`.
    pub issuer: String,
    /// The token's `sub`, else its `client_id`.
    pub subject: String,
    /// Every scope of the token that this server knows.
    pub scopes: Vec<Scope>,
    /// The enterprises that the bearer is a member of; `None` if the token lacks the claim.
    pub enterprises: Option<Vec<EnterpriseId>>,
    /// The firm whose CAS allocations the bearer uses; `None` if the token lacks the claim.
    pub firm: Option<FirmId>,
    /// The tenant whose buckets the bearer uses; `None` if the token lacks the claim.
    pub tenant: Option<TenantId>,
    /// The companies whose catalogues the bearer sees; `None` if the token lacks the claim.
    pub companies: Option<Vec<CompanyId>>,
}

impl Caller {
    /// Whether the token has this scope.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Refuses a bearer that is no member of the enterprise, whether or not the enterprise exists.
    pub fn require_member(&self, enterprise: EnterpriseId) -> Result<()> {
        let member = self
            .enterprises
            .as_ref()
            .is_some_and(|enterprises| enterprises.contains(&enterprise));
        if member {
            Ok(())
        } else {
            Err(Error::NotAMember)
        }
    }

    /// The firm; refuses a bearer that has none.
    pub fn require_firm(&self) -> Result<&FirmId> {
        self.firm.as_ref().ok_or(Error::ClaimMissing("firm_id"))
    }

    /// The tenant; refuses a bearer that has none.
    pub fn require_tenant(&self) -> Result<TenantId> {
        self.tenant.ok_or(Error::ClaimMissing("tenant"))
    }

    /// The companies; refuses a bearer whose token says nothing of them.
    pub fn require_companies(&self) -> Result<&[CompanyId]> {
        self.companies.as_deref().ok_or(Error::CompanyAccessDenied)
    }

    /// Refuses a bearer to whom the company's catalogue is closed, whether or not there is such a company.
    pub fn require_company(&self, company: CompanyId) -> Result<()> {
        if self.require_companies()?.contains(&company) {
            Ok(())
        } else {
            Err(Error::CompanyAccessDenied)
        }
    }

    /// Refuses a bearer that is neither administrator of the network nor member of the enterprise.
    pub fn require_member_or_admin(&self, enterprise: EnterpriseId) -> Result<()> {
        if self.has(Scope::NetworkAdmin) {
            return Ok(());
        }
        self.require_member(enterprise)
    }
}
