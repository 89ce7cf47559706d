//! The token of a caller.

use std::fmt;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Sends a token with every call: an interceptor for `…Client::with_interceptor`.
#[derive(Clone)]
pub struct BearerToken(MetadataValue<Ascii>);

/// The token holds characters that a header cannot have; a JWT never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidToken;

impl BearerToken {
    /// Takes a JWT, without the word `Bearer` in front of it.
    ///
    /// # Errors
    /// [`InvalidToken`] if it holds anything but visible ASCII characters.
    pub fn new(token: &str) -> Result<Self, InvalidToken> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
            .parse()
            .map_err(|_| InvalidToken)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl Interceptor for BearerToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl fmt::Debug for BearerToken {
    /// Without the token itself.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("BearerToken").finish_non_exhaustive()
    }
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the token holds characters that an HTTP header cannot have")
    }
}

impl std::error::Error for InvalidToken {}
