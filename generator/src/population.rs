//! Which user a session belongs to.
//!
//! Users have between one and a few hundred sessions, most of them few. A user with few sessions comes back within hours or days, one with
//! many is there all month. To be able to ask for the user of any session, in any order and without a table of all sessions, the month's
//! sessions are cut into 64 blocks; each block has room for the sessions of users who live in that block alone, in the eighth of the month
//! around it, or in the whole month, and pseudo-random permutations deal the room out.

use crate::distribution::HeavyTail;
use crate::profile::USER_SESSIONS_LIMIT;
use crate::randomness::{Permutation, hash};

/// How many blocks the sessions of the month are cut into.
const BLOCKS: u64 = 64;
/// Into how many groups of users each level is cut: a group's sessions are in its part of the blocks only.
const GROUPS_BY_LEVEL: [u64; 3] = [BLOCKS, 8, 1];
/// Users with at most so many sessions may live in a single block, or in an eighth of the month.
const SESSIONS_LIMIT_BY_LEVEL: [u64; 2] = [4, 12];

/// User ids are spread over a range of this width, as long as the users fit.
const USER_IDS_WIDTH: u64 = 54_000_000;
const USER_IDS_FROM: u64 = 512_000_000;

/// Users in a row that have the same number of sessions.
#[derive(Debug, Clone, Copy)]
struct Run {
    first_seat: u64,
    first_user: u64,
    sessions_each: u64,
}

/// Users that share a part of the month. Each of their sessions is a seat.
#[derive(Debug)]
struct Group {
    runs: Vec<Run>,
    seats: u64,
    deal: Permutation,
}

impl Group {
    fn user_at(&self, seat: u64) -> u64 {
        let run = self.runs[self.runs.partition_point(|run| run.first_seat <= seat) - 1];
        run.first_user + (seat - run.first_seat) / run.sessions_each
    }
}

/// A part of the month's sessions.
#[derive(Debug)]
struct Block {
    /// Its place in the month, from 0 to 63; blocks without sessions are left out.
    number: u64,
    first_session: u64,
    /// How many of the block's sessions belong to each level, and the first seat of the level's group that is dealt out here.
    seats: [u64; 3],
    first_seats: [u64; 3],
    deal: Permutation,
}

/// The users of a data set, without its bots.
#[derive(Debug)]
pub(crate) struct Population {
    levels: [Vec<Group>; 3],
    blocks: Vec<Block>,
    ids: Permutation,
    id_step: u64,
    seed: u64,
}

impl Population {
    /// `users` users with `sessions` sessions together, and room for the ids of `bots` further ones.
    pub fn new(users: u64, sessions: u64, bots: u64, seed: u64) -> Self {
        let reaching = HeavyTail::with_mean(sessions as f64 / users as f64, USER_SESSIONS_LIMIT).members_reaching(users, sessions);
        let levels = Self::levels(&reaching, seed);
        let blocks = Self::blocks(&levels, seed);
        let ids = Permutation::new(users + bots, seed, 20);
        Population { levels, blocks, ids, id_step: (USER_IDS_WIDTH / (users + bots)).max(1), seed }
    }

    /// Deals the users out to levels and groups, those with the same number of sessions evenly.
    fn levels(reaching: &[u64], seed: u64) -> [Vec<Group>; 3] {
        let mut runs = GROUPS_BY_LEVEL.map(|groups| vec![Vec::new(); groups as usize]);
        let mut seats = GROUPS_BY_LEVEL.map(|groups| vec![0u64; groups as usize]);
        let mut next_user = 0;
        for (i, count) in reaching.iter().enumerate() {
            let sessions_each = i as u64 + 1;
            let users = count - reaching.get(i + 1).copied().unwrap_or(0);
            for (level, part) in Self::split(users, sessions_each).into_iter().enumerate() {
                let groups = GROUPS_BY_LEVEL[level];
                // Starting each round elsewhere keeps the remainders from all falling into the first groups.
                let turn = hash(seed, 21, sessions_each) % groups;
                for group in 0..groups {
                    let here = part * (group + 1) / groups - part * group / groups;
                    let group = ((group + turn) % groups) as usize;
                    if here > 0 {
                        runs[level][group].push(Run { first_seat: seats[level][group], first_user: next_user, sessions_each });
                        seats[level][group] += here * sessions_each;
                        next_user += here;
                    }
                }
            }
        }
        let mut purpose = 1000;
        let mut level = 0;
        runs.map(|groups| {
            let groups = groups.into_iter().enumerate().map(|(group, runs)| {
                purpose += 1;
                let seats = seats[level][group];
                Group { runs, seats, deal: Permutation::new(seats, seed, purpose) }
            });
            let groups = groups.collect();
            level += 1;
            groups
        })
    }

    /// How many of the users with so many sessions live in one block, in an eighth and in the whole month.
    fn split(users: u64, sessions_each: u64) -> [u64; 3] {
        if sessions_each <= SESSIONS_LIMIT_BY_LEVEL[0] {
            let (block, eighth) = (users * 2 / 5, users * 2 / 5);
            [block, eighth, users - block - eighth]
        } else if sessions_each <= SESSIONS_LIMIT_BY_LEVEL[1] {
            let eighth = users * 3 / 5;
            [0, eighth, users - eighth]
        } else {
            [0, 0, users]
        }
    }

    fn blocks(levels: &[Vec<Group>; 3], seed: u64) -> Vec<Block> {
        let mut first_session = 0;
        let mut blocks = Vec::with_capacity(BLOCKS as usize);
        for block in 0..BLOCKS {
            let mut seats = [0; 3];
            let mut first_seats = [0; 3];
            for (level, groups) in levels.iter().enumerate() {
                let blocks_each = BLOCKS / groups.len() as u64;
                let all = groups[(block / blocks_each) as usize].seats;
                let within = block % blocks_each;
                first_seats[level] = all * within / blocks_each;
                seats[level] = all * (within + 1) / blocks_each - first_seats[level];
            }
            let size: u64 = seats.iter().sum();
            if size > 0 {
                blocks.push(Block { number: block, first_session, seats, first_seats, deal: Permutation::new(size, seed, 2000 + block) });
            }
            first_session += size;
        }
        blocks
    }

    /// The number of the user of a session; sessions are numbered in the order of their beginnings.
    pub fn user_of(&self, session: u64) -> u32 {
        let block = &self.blocks[self.blocks.partition_point(|block| block.first_session <= session) - 1];
        let mut place = block.deal.apply(session - block.first_session);
        let mut level = 0;
        while place >= block.seats[level] {
            place -= block.seats[level];
            level += 1;
        }
        let groups = &self.levels[level];
        let group = &groups[(block.number * groups.len() as u64 / BLOCKS) as usize];
        group.user_at(group.deal.apply(block.first_seats[level] + place)) as u32
    }

    /// The raw user id of a user's number. Ids are distinct; even the largest data set's fit 32 bits.
    pub fn id_of(&self, user: u32) -> u32 {
        let place = self.ids.apply(u64::from(user));
        (USER_IDS_FROM + place * self.id_step + hash(self.seed, 22, place) % self.id_step) as u32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn every_user_comes_and_every_session_has_one() {
        for (users, sessions) in [(1, 1), (1, 5), (7, 9), (300, 917), (20_000, 61_000)] {
            let population = Population::new(users, sessions, 5, 42);
            let mut counts: HashMap<u32, u64> = HashMap::new();
            for session in 0..sessions {
                *counts.entry(population.user_of(session)).or_default() += 1;
            }
            assert_eq!(counts.len() as u64, users);
            assert!(counts.keys().all(|user| u64::from(*user) < users));
            let ids: HashSet<u32> = (0..users as u32 + 5).map(|user| population.id_of(user)).collect();
            assert_eq!(ids.len() as u64, users + 5);
        }
    }

    #[test]
    fn some_users_come_often_and_most_do_not() {
        let population = Population::new(20_000, 61_140, 0, 42);
        let mut counts = vec![0u32; 20_000];
        for session in 0..61_140 {
            counts[population.user_of(session) as usize] += 1;
        }
        let share = |least: u32| counts.iter().filter(|count| **count >= least).count() as f64 / 20_000.0;
        assert!((0.40..0.60).contains(&share(2)), "{}", share(2));
        assert!((0.03..0.07).contains(&share(10)), "{}", share(10));
        assert!(counts.iter().max() > Some(&100));
    }

    #[test]
    fn rare_visitors_stay_in_a_part_of_the_month() {
        let population = Population::new(20_000, 61_140, 0, 42);
        let mut spans: HashMap<u32, (u64, u64)> = HashMap::new();
        let mut pairs = HashMap::new();
        for session in 0..61_140 {
            let user = population.user_of(session);
            let span = spans.entry(user).or_insert((session, session));
            span.1 = session;
            *pairs.entry(user).or_insert(0) += 1;
        }
        let pairs: Vec<u32> = pairs.into_iter().filter(|(_, count)| *count == 2).map(|(user, _)| user).collect();
        let near = pairs.iter().filter(|user| spans[user].1 - spans[user].0 < 61_140 / 8).count();
        assert!(near * 10 > pairs.len() * 7);
    }
}
