//! Scenario 1: orders of the local day, counted by the hour.

use weir_guest::{Context, Input, LocalHour, Output, Parameters, TimeZone, stage};

/// What the rule reads of an order.
#[derive(Input)]
struct UserOrder {
    gmt_modified: Option<i64>,
}

/// An order of the local day, with the business hour that it counts in.
#[derive(Output)]
#[pass(id, order_no, customer_tel, gmt_modified, account_payble)]
struct HourlyOrder {
    biz_date: LocalHour,
}

#[derive(Parameters)]
struct Settings {
    /// Zone whose midnight begins the day.
    #[default("Asia/Shanghai")]
    zone: TimeZone,
}

/// Orders of the local day, each stamped with the business hour that it counts in.
#[stage]
fn todays_orders(order: UserOrder, cx: &Context<Settings>) -> Option<HourlyOrder> {
    let zone = &cx.parameters.zone;
    let modified_ms = order.gmt_modified?;
    let today = modified_ms >= zone.start_of_day_ms(cx.now_ms());
    today.then(|| HourlyOrder {
        biz_date: zone.local_hour(modified_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-15T00:00 in Shanghai.
    const MIDNIGHT_MS: i64 = 1_773_504_000_000;
    const HOUR_MS: i64 = 3_600_000;

    /// The hour that an order counts in, if it is one of the day of `now_ms`.
    fn hour(zone: &str, now_ms: i64, gmt_modified: Option<i64>) -> Option<String> {
        let zone = TimeZone::new(zone).unwrap();
        let order = todays_orders(
            UserOrder { gmt_modified },
            &Context::for_test(Settings { zone }, now_ms),
        );
        order.map(|order| order.biz_date.to_string())
    }

    #[test]
    fn an_order_of_today_is_kept_with_its_hour() {
        let of = |modified_ms| hour("Asia/Shanghai", MIDNIGHT_MS + 12 * HOUR_MS, Some(modified_ms));
        assert_eq!(of(MIDNIGHT_MS).as_deref(), Some("2026031500"));
        assert_eq!(of(MIDNIGHT_MS + 10 * HOUR_MS - 1).as_deref(), Some("2026031509"));
        assert_eq!(of(MIDNIGHT_MS + 10 * HOUR_MS).as_deref(), Some("2026031510"));
    }

    #[test]
    fn an_order_before_midnight_is_dropped() {
        for now_ms in [MIDNIGHT_MS, MIDNIGHT_MS + 24 * HOUR_MS - 1] {
            assert_eq!(hour("Asia/Shanghai", now_ms, Some(MIDNIGHT_MS - 1)), None);
            assert!(hour("Asia/Shanghai", now_ms, Some(MIDNIGHT_MS)).is_some());
        }
        assert!(hour("Asia/Shanghai", MIDNIGHT_MS - 1, Some(MIDNIGHT_MS - 1)).is_some());
    }

    #[test]
    fn an_order_without_time_is_dropped() {
        assert_eq!(hour("Asia/Shanghai", MIDNIGHT_MS, None), None);
    }

    #[test]
    fn an_order_of_the_future_is_kept() {
        let of = |modified_ms| hour("Asia/Shanghai", MIDNIGHT_MS, Some(modified_ms));
        assert_eq!(of(MIDNIGHT_MS + 24 * HOUR_MS).as_deref(), Some("2026031600"));
        assert_eq!(of(1_000_000_000_000_000).as_deref(), Some("33658092709"));
    }

    #[test]
    fn the_zone_is_a_parameter() {
        assert_eq!(Settings::defaults().unwrap().zone.name(), "Asia/Shanghai");
        let noon_utc = MIDNIGHT_MS + 20 * HOUR_MS;
        assert_eq!(hour("UTC", noon_utc, Some(noon_utc)).as_deref(), Some("2026031512"));
        assert_eq!(hour("UTC", noon_utc, Some(MIDNIGHT_MS)), None);
        assert_eq!(
            hour("America/New_York", noon_utc, Some(noon_utc)).as_deref(),
            Some("2026031508")
        );
    }
}
