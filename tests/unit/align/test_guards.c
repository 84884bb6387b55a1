/* test_guards.c - the guards' rules: what is a spike, when coefficients halve and grow, when the run goes back or stops, alarms. */
#include "../../plugin.h"

#include "align/guards.h"

static const sail__guard_section usual = {.spike = 25, .max_kl = 2, .halve = 3, .recover = 5, .skips = 7, .rollbacks = 2, .chosen_fall = 0.3,
                                          .length_drift = 2, .equal = 25};

typedef struct run {
    sail__guards g;
    sail__guard_section o;
    int64_t step;
} run;

static run begin(void)
{
    run r = {.o = usual};
    sail__guards_init(&r.g);
    return r;
}

static sail__guard_orders judge(run *r, sail__guard_look look) { return sail__guards_judge(&r->g, &r->o, ++r->step, &look); }

static sail__guard_look look(void) { return (sail__guard_look){.extra = true, .loss = 0.7, .kl = NAN, .chosen = NAN, .length = NAN, .apart = NAN, .lead = NAN}; }

static sail__guard_orders good(run *r) { return judge(r, look()); }

static sail__guard_orders bad(run *r)
{
    sail__guard_look x = look();
    x.skipped = true;
    x.loss = NAN;
    return judge(r, x);
}

static sail__guard_orders far(run *r, double kl)
{
    sail__guard_look x = look();
    x.kl = kl;
    return judge(r, x);
}

static void losses(run *r, int n, double mean, double spread)
{
    for (int i = 0; i < n; i++) {
        sail__guard_look x = look();
        x.loss = mean + (i % 2 ? spread : -spread);
        judge(r, x);
    }
}

static void a_spike_is_told_by_the_losses_that_were_learned_from(void **state)
{
    run r = begin();
    losses(&r, 60, 0.7, 0.3);
    const double z = sail__guards_deviations(&r.g, 9.7);
    assert_true(fabs(z - 9 / sqrt(0.09 + 0.01)) < 0.5); /* the deviation is 0.3, and the floor of 0.1 */
    assert_true(sail__guards_spike(&r.g, &r.o, 9.7) && sail__guards_spike(&r.g, &r.o, -9) && !sail__guards_spike(&r.g, &r.o, 3));
    for (int i = 0; i < 100; i++) { /* however often: what was rejected does not become usual */
        sail__guard_look x = look();
        x.loss = 9.7;
        x.skipped = true;
        judge(&r, x);
    }
    assert_true(sail__guards_deviations(&r.g, 9.7) == z);
    r.o.spike = 0;
    assert_false(sail__guards_spike(&r.g, &r.o, 1e30));
}

static void the_first_losses_are_no_spikes(void **state)
{
    run r = begin();
    losses(&r, 19, 0.7, 0.01);
    assert_true(isnan(sail__guards_deviations(&r.g, 1e6)));
    assert_false(sail__guards_spike(&r.g, &r.o, 1e6));
    losses(&r, 1, 0.7, 0.01);
    assert_true(sail__guards_spike(&r.g, &r.o, 1e6));
    assert_false(sail__guards_spike(&r.g, &r.o, NAN)); /* another guard's */
}

static void a_pair_that_is_not_known_yet_is_no_spike_in_a_run_that_knows_the_others(void **state)
{
    run r = begin();
    losses(&r, 100, 1e-6, 1e-7);
    assert_false(sail__guards_spike(&r.g, &r.o, 2));
    assert_true(sail__guards_spike(&r.g, &r.o, 3));
}

static void coefficients_halve_when_bad_steps_keep_coming_and_grow_back_after_good_ones(void **state)
{
    run r = begin();
    assert_false(bad(&r).halved);
    assert_false(good(&r).halved);
    assert_false(bad(&r).halved);
    assert_true(bad(&r).halved); /* not in a row, but with fewer than 5 good ones between */
    assert_true(r.g.ladder.coef == 0.5);
    for (int i = 0; i < 3; i++)
        assert_true(bad(&r).halved == (i == 2));
    assert_true(r.g.ladder.coef == 0.25);
    for (int i = 1; i <= 20; i++) {
        const bool due = i == 5 || i == 10; /* then it is 1 again */
        assert_true(good(&r).grown == due);
    }
    assert_true(r.g.ladder.coef == 1);
    assert_true(r.g.ladder.skipped == 6);
}

static void bad_steps_that_good_ones_have_followed_are_forgotten(void **state)
{
    run r = begin();
    for (int round = 0; round < 4; round++) {
        assert_false(bad(&r).halved || bad(&r).halved);
        for (int i = 0; i < 5; i++)
            good(&r);
    }
    assert_true(r.g.ladder.coef == 1);
}

static void without_extra_terms_nothing_is_halved(void **state)
{
    run r = begin();
    for (int i = 0; i < 6; i++) {
        sail__guard_look x = look();
        x.skipped = true;
        x.extra = false;
        assert_false(judge(&r, x).halved);
    }
    assert_true(r.g.ladder.coef == 1);
}

static void bad_steps_in_a_row_take_the_run_back_and_then_stop_it(void **state)
{
    run r = begin();
    for (int i = 0; i < 10; i++)
        good(&r);
    sail__guards_due(&r.g, r.step);
    sail__guards then = r.g;
    for (int times = 0; times < 2; times++) {
        for (int i = 0; i < 6; i++)
            assert_false(bad(&r).roll_back);
        sail__guard_orders x = bad(&r);
        assert_true(x.roll_back && !x.stop && r.g.ladder.healthy == 10);
        sail__guards_back(&r.g, &then);
        assert_true(r.g.ladder.bad == 0 && r.g.ladder.rollbacks == times + 1);
        r.step = 10;
    }
    assert_true(r.g.ladder.coef == 1.0 / 16); /* stays down: it is what the way back is for */
    for (int i = 0; i < 6; i++)
        assert_false(bad(&r).stop);
    sail__guard_orders x = bad(&r);
    assert_true(x.stop && !x.roll_back);
}

static void one_good_step_begins_the_row_anew(void **state)
{
    run r = begin();
    sail__guards_due(&r.g, 0);
    for (int i = 0; i < 30; i++) {
        sail__guard_orders x = i % 7 == 6 ? good(&r) : bad(&r);
        assert_false(x.roll_back || x.stop);
    }
}

static void without_a_checkpoint_the_run_stops(void **state)
{
    run r = begin();
    for (int i = 0; i < 6; i++)
        assert_false(bad(&r).stop);
    assert_true(bad(&r).stop);
}

static void what_was_seen_goes_back_with_the_weights(void **state)
{
    run r = begin();
    losses(&r, 30, 0.7, 0.1);
    for (int i = 0; i < 6; i++)
        far(&r, 1);
    sail__guards_due(&r.g, r.step);
    const sail__guards then = r.g;
    losses(&r, 30, 1.4, 0.1);
    for (int i = 0; i < 30; i++)
        far(&r, 3);
    assert_true(r.g.seen.kl.mean > then.seen.kl.mean && r.g.seen.loss.mean > then.seen.loss.mean);
    sail__guards_back(&r.g, &then);
    assert_memory_equal(&r.g.seen, &then.seen, sizeof then.seen);
}

static void a_checkpoint_is_healthy_when_good_steps_have_followed(void **state)
{
    run r = begin();
    for (int i = 0; i < 2; i++)
        good(&r);
    sail__guards_due(&r.g, 2);
    assert_true(r.g.ladder.healthy == 2); /* the first: better than none */
    for (int i = 0; i < 2; i++)
        good(&r);
    sail__guards_due(&r.g, 4);
    for (int i = 0; i < 4; i++)
        good(&r);
    sail__guards_due(&r.g, 8); /* while one is waiting there is no other */
    assert_true(r.g.ladder.healthy == 2 && r.g.ladder.candidate == 4);
    good(&r);
    assert_true(r.g.ladder.healthy == 4 && r.g.ladder.candidate == -1);
    sail__guards_due(&r.g, 9);
    bad(&r);
    assert_true(r.g.ladder.healthy == 4 && r.g.ladder.candidate == -1); /* what 9 led to */
    sail__guards_due(&r.g, 10);
    assert_true(r.g.ladder.candidate == -1);
    for (int i = 0; i < 20; i++)
        good(&r);
    assert_true(r.g.ladder.healthy == 4);
}

static void too_far_from_the_reference_is_bad_but_learned_from(void **state)
{
    run r = begin();
    sail__guards_due(&r.g, 0);
    for (int i = 0; i < 4; i++)
        assert_false(far(&r, 3).too_far); /* a few responses say little */
    sail__guard_orders x = far(&r, 3);
    assert_true(x.too_far && r.g.ladder.bad == 1 && r.g.ladder.skipped == 0 && r.g.seen.loss.n == 5);
    for (int i = 0; i < 5; i++) /* the policy wrote nothing: no telling */
        assert_false(good(&r).too_far);
    assert_true(r.g.ladder.bad == 1 && r.g.ladder.good == 0);
    for (int i = 0; i < 5; i++)
        assert_false(far(&r, 3).roll_back);
    assert_true(far(&r, 3).roll_back);
    r.o.max_kl = 0;
    assert_false(far(&r, 100).too_far);
    assert_true(r.g.ladder.bad == 0);
}

static void an_evaluation_that_goes_wrong_takes_the_run_back_at_once(void **state)
{
    run r = begin();
    sail__guard_orders x = sail__guards_judge_evaluation(&r.g, &r.o, false, true, 2.1);
    assert_true(x.too_far && x.stop && x.halved && r.g.ladder.coef == 0.5); /* nowhere to go back to */
    sail__guards_due(&r.g, 3);
    x = sail__guards_judge_evaluation(&r.g, &r.o, false, false, 2.1);
    assert_true(x.too_far && x.roll_back && !x.stop && !x.halved);
    x = sail__guards_judge_evaluation(&r.g, &r.o, true, false, NAN);
    assert_true(!x.too_far && x.roll_back);
    r.g.ladder.rollbacks = 2;
    x = sail__guards_judge_evaluation(&r.g, &r.o, true, false, NAN);
    assert_true(x.stop);
    static const double fine[] = {1.9, NAN, -5}; /* NAN: nothing was generated, or not from the policy */
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        x = sail__guards_judge_evaluation(&r.g, &r.o, false, true, fine[i]);
        assert_true(!x.too_far && !x.roll_back && !x.stop && !x.halved);
    }
    r.o.max_kl = 0;
    x = sail__guards_judge_evaluation(&r.g, &r.o, false, true, 100);
    assert_false(x.too_far || x.stop);
}

static void steps_with_nothing_to_learn_from_are_not_gone_back_for(void **state)
{
    run r = begin();
    sail__guards_due(&r.g, 0);
    sail__guard_look x = look();
    x.empty = true;
    x.loss = 0;
    for (int i = 0; i < 6; i++)
        assert_false(judge(&r, x).stop);
    good(&r);
    for (int i = 0; i < 6; i++)
        assert_false(judge(&r, x).stop);
    sail__guard_orders last = judge(&r, x);
    assert_true(last.stop && !last.roll_back && r.g.ladder.coef == 1 && r.g.seen.loss.n == 1);
}

/* Steps whose chosen responses have log-ratios from + slope * i, and noise. Alarms given, how often. */
static int chosen(run *r, int n, double from, double slope, double noise)
{
    int alarms = 0;
    for (int i = 0; i < n; i++) {
        sail__guard_look x = look();
        x.chosen = from + slope * i + (i % 2 ? noise : -noise);
        alarms += (judge(r, x).alarms & SAIL__ALARM_CHOSEN) != 0;
    }
    return alarms;
}

static void chosen_responses_that_fall_steadily_are_told_once(void **state)
{
    run r = begin();
    assert_true(isnan(sail__guards_fall(&r.g)));
    assert_int_equal(chosen(&r, 200, 0, -0.001, 0.5), 0); /* 0.2 in all: within what is borne */
    assert_true(fabs(sail__guards_fall(&r.g) - 0.19) < 1e-9);
    assert_int_equal(chosen(&r, 400, -0.2, -0.001, 0.5), 1);
    r = begin();
    assert_int_equal(chosen(&r, 400, 0, 0.01, 0.5), 0);
    r = begin();
    for (int i = 0; i < 10; i++) /* falls far, and comes back each time */
        assert_int_equal(chosen(&r, 30, 0, -0.05, 0.1), 0);
    r = begin();
    r.o.chosen_fall = 0;
    assert_int_equal(chosen(&r, 600, 0, -0.01, 0), 0);
}

static int lengths(run *r, int n, double length)
{
    int alarms = 0;
    for (int i = 0; i < n; i++) {
        sail__guard_look x = look();
        x.length = length + (i % 2 ? 5 : -5);
        alarms += (judge(r, x).alarms & SAIL__ALARM_LENGTH) != 0;
    }
    return alarms;
}

static void responses_that_grow_or_shrink_are_told_once(void **state)
{
    for (int shorter = 0; shorter < 2; shorter++) {
        run r = begin();
        assert_int_equal(lengths(&r, 20, 40), 0);
        assert_int_equal(lengths(&r, 20, shorter ? 22 : 78), 0);
        assert_true(fabs(sail__guards_drift(&r.g) - (shorter ? 22 : 78) / 40.0) < 1e-12);
        assert_int_equal(lengths(&r, 40, shorter ? 19 : 81), 1);
    }
    run r = begin();
    r.o.length_drift = 1;
    assert_int_equal(lengths(&r, 20, 40) + lengths(&r, 20, 400), 0);
}

/* Steps in which a pair's vectors differ by a share, with log-odds of `lead`; alarms given. */
static int vectors(run *r, int n, double apart, double lead)
{
    int alarms = 0;
    for (int i = 0; i < n; i++) {
        sail__guard_look x = look();
        x.apart = apart;
        x.lead = lead;
        alarms += (judge(r, x).alarms & SAIL__ALARM_EQUAL) != 0;
    }
    return alarms;
}

static void vectors_that_have_become_equal_are_told_once(void **state)
{
    run r = begin();
    assert_int_equal(vectors(&r, 100, 1e-3, 1e-4), 0); /* it has not begun to learn */
    assert_int_equal(vectors(&r, 10, 0.2, 0.1), 0);
    assert_int_equal(vectors(&r, 24, 0.01, 1e-3), 0);
    assert_int_equal(vectors(&r, 1, 0.1, 1e-3), 0); /* and parts them again */
    assert_int_equal(vectors(&r, 100, 0.01, 0.5), 0); /* large ones prefer something all the same */
    assert_int_equal(vectors(&r, 24, 0.01, 1e-3), 0);
    assert_int_equal(vectors(&r, 50, 0.01, 1e-3), 1);
    r = begin();
    r.o.equal = 0;
    assert_int_equal(vectors(&r, 10, 0.2, 0.1) + vectors(&r, 100, 0.01, 1e-3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_spike_is_told_by_the_losses_that_were_learned_from),
        cmocka_unit_test(the_first_losses_are_no_spikes),
        cmocka_unit_test(a_pair_that_is_not_known_yet_is_no_spike_in_a_run_that_knows_the_others),
        cmocka_unit_test(coefficients_halve_when_bad_steps_keep_coming_and_grow_back_after_good_ones),
        cmocka_unit_test(bad_steps_that_good_ones_have_followed_are_forgotten),
        cmocka_unit_test(without_extra_terms_nothing_is_halved),
        cmocka_unit_test(bad_steps_in_a_row_take_the_run_back_and_then_stop_it),
        cmocka_unit_test(one_good_step_begins_the_row_anew),
        cmocka_unit_test(without_a_checkpoint_the_run_stops),
        cmocka_unit_test(what_was_seen_goes_back_with_the_weights),
        cmocka_unit_test(a_checkpoint_is_healthy_when_good_steps_have_followed),
        cmocka_unit_test(too_far_from_the_reference_is_bad_but_learned_from),
        cmocka_unit_test(an_evaluation_that_goes_wrong_takes_the_run_back_at_once),
        cmocka_unit_test(steps_with_nothing_to_learn_from_are_not_gone_back_for),
        cmocka_unit_test(chosen_responses_that_fall_steadily_are_told_once),
        cmocka_unit_test(responses_that_grow_or_shrink_are_told_once),
        cmocka_unit_test(vectors_that_have_become_equal_are_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
