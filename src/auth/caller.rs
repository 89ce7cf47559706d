//! The claims of a verified token, and the checks of them that services make.

use crate::auth::scope::Scope;
use crate::error::{Error, Result};
use crate::types::ids::{CompanyId, EnterpriseId, FirmId, TenantId};

/// The bearer of a verified token, with the claims that the services use.
///
/// A claim that says whose records the bearer uses is missing or malformed without harm to calls that do not need it.
/// Its field is then the error with which the others are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The claim `iss`, which is the issuer that the server was configured with.
    pub issuer: String,
    /// Who the bearer is: 1 to 255 characters.
    pub subject: String,
    /// Those scopes of the token that this server uses; others are ignored.
    pub scopes: Vec<Scope>,
    /// The enterprises that the bearer is a member of; else `NotAMember` or `ClaimInvalid`.
    pub enterprises: Result<Vec<EnterpriseId>>,
    /// The name of the claim that lists them.
    pub enterprises_claim: String,
    /// The firm whose CAS allocations the bearer uses; else `ClaimMissing` or `ClaimInvalid`.
    pub firm: Result<FirmId>,
    /// The tenant whose buckets the bearer uses; else `ClaimMissing` or `ClaimInvalid`.
    pub tenant: Result<TenantId>,
    /// The companies whose catalogues the bearer may read and write; else `CompanyAccessDenied` or `ClaimInvalid`.
    pub companies: Result<Vec<CompanyId>>,
}

impl Caller {
    /// A bearer of these scopes whose token says nothing of enterprises, firm, tenant and companies.
    pub fn with_scopes(subject: impl Into<String>, scopes: &[Scope]) -> Self {
        Self {
            issuer: String::new(),
            subject: subject.into(),
            scopes: scopes.to_vec(),
            enterprises: Err(Error::NotAMember {
                claim: "enterprises".into(),
                enterprise: None,
            }),
            enterprises_claim: "enterprises".into(),
            firm: Err(Error::ClaimMissing("firm_id".into())),
            tenant: Err(Error::ClaimMissing("tenant".into())),
            companies: Err(Error::CompanyAccessDenied),
        }
    }

    /// Whether the token has this scope.
    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Checks that the bearer is a member of the enterprise. The error is `NotAMember` whether or not the enterprise
    /// exists, so that it reveals nothing about enterprises of others.
    pub fn require_member(&self, enterprise: EnterpriseId) -> Result<()> {
        if self.require_enterprises()?.contains(&enterprise) {
            Ok(())
        } else {
            Err(Error::NotAMember {
                claim: self.enterprises_claim.clone(),
                enterprise: Some(enterprise),
            })
        }
    }

    /// The enterprises that the bearer is a member of.
    pub(crate) fn require_enterprises(&self) -> Result<&[EnterpriseId]> {
        self.enterprises.as_deref().map_err(Error::clone)
    }

    /// The firm whose CAS allocations the bearer uses.
    pub(crate) fn require_firm(&self) -> Result<&FirmId> {
        self.firm.as_ref().map_err(Error::clone)
    }

    /// The tenant whose buckets the bearer uses.
    pub fn require_tenant(&self) -> Result<TenantId> {
        self.tenant.clone()
    }

    /// The companies whose catalogues the bearer uses.
    pub(crate) fn require_companies(&self) -> Result<&[CompanyId]> {
        self.companies.as_deref().map_err(Error::clone)
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
