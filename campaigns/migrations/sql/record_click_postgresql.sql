-- One measured click, decided and written in one round trip. campaigns/billing.py documents the order of the reasons and
-- holds the same story for SQLite; tests/campaigns/test_billing.py runs on both.
--
-- READ COMMITTED is right here: an UPDATE that waited re-evaluates its WHERE on the newest row. The two rows that many
-- clicks fight for, campaign and wallet, come last and always in this order. Every look-up goes by an index: a plan that
-- was made while a table was young must not go on reading all of it (hence enable_seqscan).

CREATE OR REPLACE FUNCTION campaigns_record_click(
    the_token_id text,
    the_visitor text,
    the_network text,
    suspicion text,  -- a reason found in the request's headers, or NULL
    simulated_at timestamptz,  -- heeded for demo auctions only; everything else lives by this database's clock
    visitor_limit integer, visitor_ad_limit integer,  -- billed clicks per hour
    network_limit integer, network_ad_limit integer,
    OUT outcome text, OUT landing_url text, OUT charged_micros bigint
) RETURNS SETOF record LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    link record;
    moment timestamptz := now();
    hour_ago timestamptz;
    today date;
    late boolean;
BEGIN
    SELECT i.id, i.visitor_hash, i.expires_at, k.ad_id, k.bid_micros, ad.landing_url, ad.campaign_id, a.origin,
        v.time_zone, w.id AS wallet_id, EXISTS (SELECT FROM campaigns_click c WHERE c.impression_id = i.id) AS clicked,
        ad.status = 'active' AND ad.review_state = 'approved' AND p.status = 'active' AND v.status = 'active' AS active
    INTO link
    FROM campaigns_impression i
    JOIN campaigns_auctioncandidate k ON k.id = i.candidate_id
    JOIN campaigns_auction a ON a.id = k.auction_id
    JOIN campaigns_ad ad ON ad.id = k.ad_id
    JOIN campaigns_campaign p ON p.id = ad.campaign_id
    JOIN campaigns_advertiser v ON v.id = p.advertiser_id
    LEFT JOIN campaigns_account w ON w.advertiser_id = v.id
    WHERE i.token_id = the_token_id;
    IF NOT FOUND THEN
        RETURN;  -- no row: we never issued this token
    END IF;

    landing_url := link.landing_url;
    charged_micros := 0;
    IF link.origin = 'demo' THEN
        moment := coalesce(simulated_at, moment);
    END IF;
    outcome := CASE
        WHEN suspicion IS NOT NULL THEN suspicion
        WHEN link.clicked THEN 'duplicate'
        WHEN moment > link.expires_at THEN 'expired'
        WHEN link.visitor_hash NOT IN ('', the_visitor) THEN 'invalid'
        WHEN NOT link.active THEN 'inactive'
        ELSE 'billed'
    END;

    IF outcome = 'billed' AND (the_visitor <> '' OR the_network <> '') THEN
        -- Clicks from one place take turns, so that they cannot all count before the first is written.
        PERFORM pg_advisory_xact_lock(hashtextextended(coalesce(nullif(the_network, ''), the_visitor), 0));
        hour_ago := moment - interval '1 hour';
        PERFORM FROM campaigns_click c
        JOIN campaigns_impression i ON i.id = c.impression_id
        JOIN campaigns_auctioncandidate k ON k.id = i.candidate_id
        WHERE c.visitor_hash = the_visitor AND c.visitor_hash <> '' AND c.created_at > hour_ago AND c.created_at <= moment
        HAVING count(*) >= visitor_limit OR count(*) FILTER (WHERE k.ad_id = link.ad_id) >= visitor_ad_limit;
        IF FOUND THEN
            outcome := 'invalid';
        END IF;
        PERFORM FROM campaigns_click c
        JOIN campaigns_impression i ON i.id = c.impression_id
        JOIN campaigns_auctioncandidate k ON k.id = i.candidate_id
        WHERE c.network_hash = the_network AND c.network_hash <> '' AND c.created_at > hour_ago AND c.created_at <= moment
        HAVING count(*) >= network_limit OR count(*) FILTER (WHERE k.ad_id = link.ad_id) >= network_ad_limit;
        IF FOUND THEN
            outcome := 'invalid';
        END IF;
    END IF;

    IF outcome = 'billed' THEN
        BEGIN  -- everything in this block happens, or none of it
            INSERT INTO campaigns_click (impression_id, charged_micros, visitor_hash, network_hash, created_at)
            VALUES (link.id, link.bid_micros, the_visitor, the_network, moment)
            ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'duplicate' USING ERRCODE = 'LA001';
            END IF;

            INSERT INTO campaigns_transfer (kind, debit_id, credit_id, amount_micros, click_id, note, created_at)
            SELECT 'charge', link.wallet_id, r.id, link.bid_micros, link.id, '', moment
            FROM campaigns_account r WHERE r.kind = 'revenue' AND link.wallet_id IS NOT NULL;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'over_budget' USING ERRCODE = 'LA001';  -- no wallet was ever filled
            END IF;

            today := (moment AT TIME ZONE link.time_zone)::date;
            UPDATE campaigns_campaign p SET
                spent_micros = spent_micros + link.bid_micros,
                day_spent_micros = CASE
                    WHEN day > today THEN day_spent_micros
                    WHEN day = today THEN day_spent_micros + link.bid_micros
                    ELSE link.bid_micros END,
                day = greatest(day, today)
            WHERE p.id = link.campaign_id AND p.status = 'active'
                AND spent_micros + link.bid_micros <= total_budget_micros
                AND CASE WHEN day = today THEN day_spent_micros ELSE 0 END + link.bid_micros <= daily_budget_micros
            RETURNING day > today INTO late;
            IF NOT FOUND THEN
                SELECT CASE p.status WHEN 'active' THEN 'over_budget' ELSE 'inactive' END INTO outcome
                FROM campaigns_campaign p WHERE p.id = link.campaign_id;
                RAISE EXCEPTION '%', outcome USING ERRCODE = 'LA001';
            END IF;
            IF late THEN  -- midnight passed while this click waited: its own day is over and must be counted afresh
                PERFORM FROM campaigns_click c
                JOIN campaigns_impression i ON i.id = c.impression_id
                JOIN campaigns_auctioncandidate k ON k.id = i.candidate_id
                JOIN campaigns_ad ad ON ad.id = k.ad_id
                JOIN campaigns_campaign p ON p.id = ad.campaign_id
                WHERE p.id = link.campaign_id
                    AND c.created_at >= today::timestamp AT TIME ZONE link.time_zone
                    AND c.created_at < (today + 1)::timestamp AT TIME ZONE link.time_zone
                GROUP BY p.id HAVING sum(c.charged_micros) > p.daily_budget_micros;
                IF FOUND THEN
                    RAISE EXCEPTION 'over_budget' USING ERRCODE = 'LA001';
                END IF;
            END IF;

            UPDATE campaigns_account SET balance_micros = balance_micros - link.bid_micros
            WHERE id = link.wallet_id AND balance_micros >= link.bid_micros;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'over_budget' USING ERRCODE = 'LA001';
            END IF;
            charged_micros := link.bid_micros;
        EXCEPTION WHEN SQLSTATE 'LA001' THEN
            outcome := SQLERRM;
        END;
    END IF;

    IF outcome <> 'billed' THEN
        INSERT INTO campaigns_rejectedclick (impression_id, reason, created_at) VALUES (link.id, outcome, moment);
    END IF;
    RETURN NEXT;
END $$;
