//! The claims of a verified token, and the checks of them that services make.

use crate::auth::scope::Scope;
use crate::error::{Error, Result};
use crate::types::ids::{CompanyId, EnterpriseId, FirmId, TenantId};

/// The bearer of a verified token, with the claims that the services use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The claim `iss`, which is the issuer that the server was configured with.
    pub issuer: String,
    /// The claim `sub`, or `client_id` where there is no `sub`: 1 to 255 characters.
    pub subject: String,
    /// Those scopes of the token that this server uses; others are ignored.
    pub scopes: Vec<Scope>,
    /// The claim `enterprises`: those that the bearer is a member of. `None` if the token lacks the claim.
    pub enterprises: Option<Vec<EnterpriseId>>,
    /// The claim `firm_id`: whose CAS allocations the bearer uses. `None` if the token lacks the claim.
    pub firm: Option<FirmId>,
    /// The claim `tenant`: whose buckets the bearer uses. `None` if the token lacks the claim.
    pub tenant: Option<TenantId>,
    /// The claim `companies`: whose catalogues the bearer may read and write. `None` if the token lacks the claim.
    pub companies: Option<Vec<CompanyId>>,
}

impl Caller {
    /// Whether the token has this scope.
    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Checks that the bearer is a member of the enterprise. The error is `NotAMember` whether or not the enterprise
    /// exists, so that it reveals nothing about enterprises of others.
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

    /// The firm; `ClaimMissing` if the token lacks `firm_id`.
    pub(crate) fn require_firm(&self) -> Result<&FirmId> {
        self.firm.as_ref().ok_or(Error::ClaimMissing("firm_id"))
    }

    /// The tenant; `ClaimMissing` if the token lacks `tenant`.
    pub fn require_tenant(&self) -> Result<TenantId> {
        self.tenant.ok_or(Error::ClaimMissing("tenant"))
    }

    /// The companies; `CompanyAccessDenied` if the token lacks `companies`.
    pub(crate) fn require_companies(&self) -> Result<&[CompanyId]> {
        self.companies.as_deref().ok_or(Error::CompanyAccessDenied)
    }

    /// Checks that the company is one of the bearer's; else `CompanyAccessDenied`, whether or not the company exists.
    pub(crate) fn require_company(&self, company: CompanyId) -> Result<()> {
        if self.require_companies()?.contains(&company) {
            Ok(())
        } else {
            Err(Error::CompanyAccessDenied)
        }
    }

    /// Checks that the bearer has the scope `network-admin` or is a member of the enterprise; `NotAMember` otherwise.
    pub(crate) fn require_member_or_admin(&self, enterprise: EnterpriseId) -> Result<()> {
        if self.has(Scope::NetworkAdmin) {
            return Ok(());
        }
        self.require_member(enterprise)
    }
}
