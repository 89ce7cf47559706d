//! What the textbook's services share.

use earmark::error::{Error, Result};
use uuid::Uuid;

/// Methods that no benchmark calls. They are written as `async_trait` would write them, since it does not expand macros.
macro_rules! not_measured {
    ($($method:ident: $request:ident -> $response:ident;)*) => {$(
        fn $method<'s, 'f>(
            &'s self,
            _: tonic::Request<pb::$request>,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<tonic::Response<pb::$response>, tonic::Status>> + Send + 'f>>
        where
            's: 'f,
            Self: 'f,
        {
            Box::pin(async { Err(tonic::Status::unimplemented("not measured")) })
        }
    )*};
}

pub(super) use not_measured;

/// Reads an id of a request.
pub(super) fn read_id(field: &'static str, text: &str) -> Result<Uuid> {
    Uuid::try_parse(text).map_err(|_| Error::invalid(field, "must be a UUID"))
}
