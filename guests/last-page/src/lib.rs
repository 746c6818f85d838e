//! Scenario 3: the last page that each user visited on each device.

use weir_guest::{Input, Output, stage};

/// What the rule reads of an event.
#[derive(Input)]
struct PointLog<'a> {
    account_id: Option<&'a str>,
}

/// An event of a user who is known.
#[derive(Output)]
#[pass(account_id, device_id, bury_point_type, page_name)]
struct UserLog;

/// Events with an account. The empty text is an account too.
#[stage]
fn events_of_accounts(event: PointLog) -> Option<UserLog> {
    event.account_id.map(|_| UserLog)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_kept(account_id: Option<&str>) -> bool {
        events_of_accounts(PointLog { account_id }).is_some()
    }

    #[test]
    fn an_event_without_account_is_dropped() {
        assert!(is_kept(Some("U00000001")));
        assert!(!is_kept(None));
    }

    #[test]
    fn the_empty_text_is_an_account() {
        assert!(is_kept(Some("")));
    }
}
