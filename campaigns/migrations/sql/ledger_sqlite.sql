-- What no application code may do to the books, whoever it is. Its twin is ledger_postgresql.sql.

-- 1) Facts are appended, never changed: no UPDATE, no DELETE. (settings.py turns recursive_triggers on, so that an
--    INSERT OR REPLACE counts as the DELETE it is.)

CREATE TRIGGER IF NOT EXISTS bid_is_never_updated BEFORE UPDATE ON campaigns_bid
BEGIN SELECT RAISE(ABORT, 'bid is append-only: UPDATE refused'); END;
CREATE TRIGGER IF NOT EXISTS bid_is_never_deleted BEFORE DELETE ON campaigns_bid
BEGIN SELECT RAISE(ABORT, 'bid is append-only: DELETE refused'); END;

CREATE TRIGGER IF NOT EXISTS auction_is_never_updated BEFORE UPDATE ON campaigns_auction
BEGIN SELECT RAISE(ABORT, 'auction is append-only: UPDATE refused'); END;
CREATE TRIGGER IF NOT EXISTS auction_is_never_deleted BEFORE DELETE ON campaigns_auction
BEGIN SELECT RAISE(ABORT, 'auction is append-only: DELETE refused'); END;

CREATE TRIGGER IF NOT EXISTS auctioncandidate_is_never_updated BEFORE UPDATE ON campaigns_auctioncandidate
BEGIN SELECT RAISE(ABORT, 'auctioncandidate is append-only: UPDATE refused'); END;
CREATE TRIGGER IF NOT EXISTS auctioncandidate_is_never_deleted BEFORE DELETE ON campaigns_auctioncandidate
BEGIN SELECT RAISE(ABORT, 'auctioncandidate is append-only: DELETE refused'); END;

CREATE TRIGGER IF NOT EXISTS impression_is_never_updated BEFORE UPDATE ON campaigns_impression
BEGIN SELECT RAISE(ABORT, 'impression is append-only: UPDATE refused'); END;
CREATE TRIGGER IF NOT EXISTS impression_is_never_deleted BEFORE DELETE ON campaigns_impression
BEGIN SELECT RAISE(ABORT, 'impression is append-only: DELETE refused'); END;

CREATE TRIGGER IF NOT EXISTS click_is_never_updated BEFORE UPDATE ON campaigns_click
BEGIN SELECT RAISE(ABORT, 'click is append-only: UPDATE refused'); END;
CREATE TRIGGER IF NOT EXISTS click_is_never_deleted BEFORE DELETE ON campaigns_click
BEGIN SELECT RAISE(ABORT, 'click is append-only: DELETE refused'); END;

CREATE TRIGGER IF NOT EXISTS rejectedclick_is_never_updated BEFORE UPDATE ON campaigns_rejectedclick
BEGIN SELECT RAISE(ABORT, 'rejectedclick is append-only: UPDATE refused'); END;
CREATE TRIGGER IF NOT EXISTS rejectedclick_is_never_deleted BEFORE DELETE ON campaigns_rejectedclick
BEGIN SELECT RAISE(ABORT, 'rejectedclick is append-only: DELETE refused'); END;

CREATE TRIGGER IF NOT EXISTS transfer_is_never_updated BEFORE UPDATE ON campaigns_transfer
BEGIN SELECT RAISE(ABORT, 'transfer is append-only: UPDATE refused'); END;
CREATE TRIGGER IF NOT EXISTS transfer_is_never_deleted BEFORE DELETE ON campaigns_transfer
BEGIN SELECT RAISE(ABORT, 'transfer is append-only: DELETE refused'); END;

-- 2) Money is whole micros. SQLite would store 'abc' or 0.5 in an integer column and let it pass CHECK (amount > 0).

CREATE TRIGGER IF NOT EXISTS account_is_in_micros BEFORE INSERT ON campaigns_account
WHEN typeof(NEW.balance_micros) <> 'integer'
BEGIN SELECT RAISE(ABORT, 'a balance is whole micros'); END;
CREATE TRIGGER IF NOT EXISTS account_stays_in_micros BEFORE UPDATE ON campaigns_account
WHEN typeof(NEW.balance_micros) <> 'integer'
BEGIN SELECT RAISE(ABORT, 'a balance is whole micros'); END;

CREATE TRIGGER IF NOT EXISTS campaign_is_in_micros BEFORE INSERT ON campaigns_campaign
WHEN typeof(NEW.total_budget_micros) <> 'integer' OR typeof(NEW.spent_micros) <> 'integer'
    OR typeof(NEW.daily_budget_micros) <> 'integer' OR typeof(NEW.day_spent_micros) <> 'integer'
BEGIN SELECT RAISE(ABORT, 'a budget is whole micros'); END;
CREATE TRIGGER IF NOT EXISTS campaign_stays_in_micros BEFORE UPDATE ON campaigns_campaign
WHEN typeof(NEW.total_budget_micros) <> 'integer' OR typeof(NEW.spent_micros) <> 'integer'
    OR typeof(NEW.daily_budget_micros) <> 'integer' OR typeof(NEW.day_spent_micros) <> 'integer'
BEGIN SELECT RAISE(ABORT, 'a budget is whole micros'); END;

CREATE TRIGGER IF NOT EXISTS bid_is_in_micros BEFORE INSERT ON campaigns_bid
WHEN typeof(NEW.amount_micros) <> 'integer'
BEGIN SELECT RAISE(ABORT, 'a bid is whole micros'); END;

CREATE TRIGGER IF NOT EXISTS auctioncandidate_is_in_micros BEFORE INSERT ON campaigns_auctioncandidate
WHEN typeof(NEW.bid_micros) <> 'integer'
BEGIN SELECT RAISE(ABORT, 'a bid is whole micros'); END;

CREATE TRIGGER IF NOT EXISTS transfer_is_in_micros BEFORE INSERT ON campaigns_transfer
WHEN typeof(NEW.amount_micros) <> 'integer'
BEGIN SELECT RAISE(ABORT, 'an amount is whole micros'); END;

-- 3) A click costs the bid that stood in the prompt (Eq. 7), not a micro more or less.

CREATE TRIGGER IF NOT EXISTS click_costs_the_frozen_bid BEFORE INSERT ON campaigns_click
WHEN typeof(NEW.charged_micros) <> 'integer' OR NOT EXISTS (
    SELECT 1 FROM campaigns_impression i JOIN campaigns_auctioncandidate k ON k.id = i.candidate_id
    WHERE i.id = NEW.impression_id AND k.bid_micros = NEW.charged_micros
)
BEGIN SELECT RAISE(ABORT, 'click must be charged the frozen bid'); END;

-- 4) Money moves between the accounts its kind names; a charge is the click's own price from the advertiser's own
--    wallet; a credit goes back the way its charge came and is never larger.

CREATE TRIGGER IF NOT EXISTS transfer_fits_its_kind BEFORE INSERT ON campaigns_transfer
WHEN NOT EXISTS (
    SELECT 1 FROM campaigns_account d, campaigns_account c
    WHERE d.id = NEW.debit_id AND c.id = NEW.credit_id AND d.kind || ' to ' || c.kind = CASE NEW.kind
        WHEN 'deposit' THEN 'clearing to wallet'
        WHEN 'withdrawal' THEN 'wallet to clearing'
        WHEN 'charge' THEN 'wallet to revenue'
        WHEN 'credit' THEN 'revenue to wallet' END
)
BEGIN SELECT RAISE(ABORT, 'money must not go this way'); END;

CREATE TRIGGER IF NOT EXISTS charge_fits_its_click BEFORE INSERT ON campaigns_transfer
WHEN NEW.kind = 'charge' AND NOT EXISTS (
    SELECT 1 FROM campaigns_click c
    JOIN campaigns_impression i ON i.id = c.impression_id
    JOIN campaigns_auctioncandidate k ON k.id = i.candidate_id
    JOIN campaigns_ad ad ON ad.id = k.ad_id
    JOIN campaigns_campaign p ON p.id = ad.campaign_id
    JOIN campaigns_account w ON w.advertiser_id = p.advertiser_id
    WHERE c.impression_id = NEW.click_id AND c.charged_micros = NEW.amount_micros AND w.id = NEW.debit_id
)
BEGIN SELECT RAISE(ABORT, 'charge does not fit its click'); END;

CREATE TRIGGER IF NOT EXISTS credit_fits_its_charge BEFORE INSERT ON campaigns_transfer
WHEN NEW.kind = 'credit' AND NOT EXISTS (
    SELECT 1 FROM campaigns_transfer t
    WHERE t.id = NEW.reverses_id AND t.kind = 'charge' AND t.debit_id = NEW.credit_id
        AND t.amount_micros >= NEW.amount_micros
)
BEGIN SELECT RAISE(ABORT, 'credit does not fit its charge'); END;

-- 5) The paths from a click to its payer stay: an ad keeps its campaign, a campaign its advertiser, and an advertiser
--    whose days have been counted its time zone.

CREATE TRIGGER IF NOT EXISTS ad_keeps_its_campaign BEFORE UPDATE ON campaigns_ad
WHEN NEW.campaign_id <> OLD.campaign_id
BEGIN SELECT RAISE(ABORT, 'an ad keeps its campaign'); END;

CREATE TRIGGER IF NOT EXISTS campaign_keeps_its_advertiser BEFORE UPDATE ON campaigns_campaign
WHEN NEW.advertiser_id <> OLD.advertiser_id
BEGIN SELECT RAISE(ABORT, 'a campaign keeps its advertiser'); END;

CREATE TRIGGER IF NOT EXISTS advertiser_keeps_its_time_zone BEFORE UPDATE ON campaigns_advertiser
WHEN NEW.time_zone <> OLD.time_zone
    AND EXISTS (SELECT 1 FROM campaigns_campaign WHERE advertiser_id = OLD.id AND day IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'an advertiser whose days are counted keeps its time zone'); END;
