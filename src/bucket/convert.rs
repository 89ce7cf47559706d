//! Converts requests of the service to commands and the model, and the model to its answers.

mod action;
mod bucket;
mod fields;
mod reads;
mod reference;
mod values;
mod view;

pub(super) use action::{adjust, close, deduct, reserve, topup, transfer, unreserve};
pub(super) use bucket::{create, update};
pub(super) use reads::{accumulate, action_list, get, get_action, list};
pub(super) use view::base;
