-- What no application code may do to the books, whoever it is. Its twin is ledger_sqlite.sql.

-- 1) Facts are appended, never changed: no UPDATE, no DELETE, no TRUNCATE.

CREATE OR REPLACE FUNCTION campaigns_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'integrity_constraint_violation';
END $$;

DO $$
DECLARE
    fact text;
BEGIN
    FOREACH fact IN ARRAY ARRAY['bid', 'auction', 'auctioncandidate', 'impression', 'click', 'rejectedclick', 'transfer']
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER %1$s_is_append_only BEFORE UPDATE OR DELETE ON campaigns_%1$s
                        FOR EACH ROW EXECUTE FUNCTION campaigns_refuse_change()', fact);
        EXECUTE format('CREATE OR REPLACE TRIGGER %1$s_is_never_truncated BEFORE TRUNCATE ON campaigns_%1$s
                        FOR EACH STATEMENT EXECUTE FUNCTION campaigns_refuse_change()', fact);
    END LOOP;
END $$;

-- 2) A click costs the bid that stood in the prompt (Eq. 7), not a micro more or less.

CREATE OR REPLACE FUNCTION campaigns_check_click() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM campaigns_impression i JOIN campaigns_auctioncandidate k ON k.id = i.candidate_id
    WHERE i.id = NEW.impression_id AND k.bid_micros = NEW.charged_micros;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'click must be charged the frozen bid' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER click_costs_the_frozen_bid BEFORE INSERT ON campaigns_click
    FOR EACH ROW EXECUTE FUNCTION campaigns_check_click();

-- 3) Money moves between the accounts its kind names; a charge is the click's own price from the advertiser's own
--    wallet; a credit goes back the way its charge came and is never larger.

CREATE OR REPLACE FUNCTION campaigns_check_transfer() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    route text;
BEGIN
    SELECT d.kind || ' to ' || c.kind INTO route FROM campaigns_account d, campaigns_account c
    WHERE d.id = NEW.debit_id AND c.id = NEW.credit_id;

    IF route IS DISTINCT FROM (CASE NEW.kind
        WHEN 'deposit' THEN 'clearing to wallet'
        WHEN 'withdrawal' THEN 'wallet to clearing'
        WHEN 'charge' THEN 'wallet to revenue'
        WHEN 'credit' THEN 'revenue to wallet' END)
    THEN
        RAISE EXCEPTION '% must not go from %', NEW.kind, route USING ERRCODE = 'integrity_constraint_violation';
    END IF;

    IF NEW.kind = 'charge' THEN
        PERFORM FROM campaigns_click c
        JOIN campaigns_impression i ON i.id = c.impression_id
        JOIN campaigns_auctioncandidate k ON k.id = i.candidate_id
        JOIN campaigns_ad ad ON ad.id = k.ad_id
        JOIN campaigns_campaign p ON p.id = ad.campaign_id
        JOIN campaigns_account w ON w.advertiser_id = p.advertiser_id
        WHERE c.impression_id = NEW.click_id AND c.charged_micros = NEW.amount_micros AND w.id = NEW.debit_id;
    ELSIF NEW.kind = 'credit' THEN
        PERFORM FROM campaigns_transfer t
        WHERE t.id = NEW.reverses_id AND t.kind = 'charge' AND t.debit_id = NEW.credit_id
            AND t.amount_micros >= NEW.amount_micros;
    ELSE
        RETURN NEW;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% does not fit its cause', NEW.kind USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER transfer_fits_its_cause BEFORE INSERT ON campaigns_transfer
    FOR EACH ROW EXECUTE FUNCTION campaigns_check_transfer();

-- 4) The paths from a click to its payer stay: an ad keeps its campaign, a campaign its advertiser, and an advertiser
--    whose days have been counted its time zone.

CREATE OR REPLACE FUNCTION campaigns_refuse_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', replace(TG_NAME, '_', ' ') USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE OR REPLACE TRIGGER ad_keeps_its_campaign BEFORE UPDATE ON campaigns_ad
    FOR EACH ROW WHEN (NEW.campaign_id <> OLD.campaign_id) EXECUTE FUNCTION campaigns_refuse_move();

CREATE OR REPLACE TRIGGER campaign_keeps_its_advertiser BEFORE UPDATE ON campaigns_campaign
    FOR EACH ROW WHEN (NEW.advertiser_id <> OLD.advertiser_id) EXECUTE FUNCTION campaigns_refuse_move();

CREATE OR REPLACE FUNCTION campaigns_check_time_zone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM campaigns_campaign WHERE advertiser_id = OLD.id AND day IS NOT NULL) THEN
        RAISE EXCEPTION 'an advertiser whose days are counted keeps its time zone'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER advertiser_keeps_its_time_zone BEFORE UPDATE ON campaigns_advertiser
    FOR EACH ROW WHEN (NEW.time_zone <> OLD.time_zone) EXECUTE FUNCTION campaigns_check_time_zone();
