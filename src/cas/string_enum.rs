//! The enums of an allocation whose values are strings in the document form and in the database.

/// An enum with one string for each value, the same in the document form and in the database.
pub(crate) trait StringEnum: Copy + PartialEq + Sized + 'static {
    /// Every value, in the order of the proto.
    const ALL: &'static [Self];

    /// The string for this value, in lower camel case.
    fn as_str(self) -> &'static str;

    /// The value that this string stands for; case counts.
    fn parse(text: &str) -> Option<Self> {
        let mut values = Self::ALL.iter().copied();
        values.find(|value| value.as_str() == text)
    }
}

/// Progress of the order that the allocation belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderStatus {
    Pending,
    Delivered,
    Successful,
    Failed,
    DeletePending,
}

impl StringEnum for OrderStatus {
    const ALL: &'static [Self] = &[
        Self::Pending,
        Self::Delivered,
        Self::Successful,
        Self::Failed,
        Self::DeletePending,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Successful => "successful",
            Self::Failed => "failed",
            Self::DeletePending => "deletePending",
        }
    }
}

/// Whether an amount is of money or of securities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CasValueType {
    Cash,
    Quantity,
}

impl StringEnum for CasValueType {
    const ALL: &'static [Self] = &[Self::Cash, Self::Quantity];

    fn as_str(self) -> &'static str {
        match self {
            Self::Cash => "cash",
            Self::Quantity => "quantity",
        }
    }
}

/// How the allocated value was determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DistributionType {
    Manual,
    Auto,
    None,
}

impl StringEnum for DistributionType {
    const ALL: &'static [Self] = &[Self::Manual, Self::Auto, Self::None];

    fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Auto => "auto",
            Self::None => "none",
        }
    }
}
