//! What takes its time, all at once: each waits for a limit of time to pass, on a node of its own.

use std::thread;

#[test]
fn whoever_is_slow_is_let_go_and_whoever_keeps_the_floor_is_not() {
    thread::scope(|scope| {
        for slow in [
            crate::answers::whoever_takes_a_call_and_says_nothing_is_called_anew,
            crate::answers::a_reader_that_asks_for_everything_and_takes_nothing_is_let_go,
            crate::frames::a_byte_a_second_inside_a_frame_is_let_go,
            crate::frames::a_slow_frame_that_keeps_the_floor_is_taken,
            crate::handshakes::a_peer_has_four_places_and_the_others_theirs,
            crate::strangers::an_address_that_never_answers_gets_three_times_what_came_in_its_name,
        ] {
            // A panic in one of them is one of the test, once all have ended.
            scope.spawn(slow);
        }
    });
}
