//! Images that attack the machine: what each tries, and that it fails.

mod docker;
mod machine;
mod program;

pub(crate) const CASES: &[(&str, fn())] = &[
    ("hostile::program_is_not_executed", program::not_executed),
    (
        "hostile::program_is_not_executed_by_exec",
        program::not_executed_by_exec,
    ),
    (
        "hostile::program_is_not_caught_in_a_race",
        program::not_caught,
    ),
    ("hostile::program_is_not_swapped_in", program::not_swapped),
    (
        "hostile::file_server_is_closed",
        program::file_server_is_closed,
    ),
    ("hostile::calls_are_answered_one_by_one", machine::calls),
    ("hostile::devices_are_its_own", machine::devices),
    (
        "hostile::system_folders_are_no_links",
        machine::system_links,
    ),
    ("hostile::working_folder_is_inside", machine::working_folder),
    (
        "hostile::needs_docker_as_closed_as_docker",
        docker::as_closed_as_docker,
    ),
];
