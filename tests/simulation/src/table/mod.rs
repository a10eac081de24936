//! The table as AWS runs it: each operation takes time and happens to one item
//! at one moment; nothing holds over several items.
//!
//! An operation that was sent goes on by itself: it happens even if its process
//! is frozen, died, or does not wait for it any longer.

mod client;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use portfolio::cache::{
    CacheError,
    table::{Attributes, Consumed, QueryCall, QueryPage},
};
use tokio::task::JoinHandle;

use crate::{
    rng::mix,
    world::{Caller, Fault, Moment, World, locked, millis, wall},
};

/// The client gives an operation up after this long.
const TIMEOUT: i64 = 1000;
/// Older states than this are not kept, except for the present one.
const KEPT: i64 = 4000;

/// One state of an item.
struct State {
    since: Moment,
    attributes: Option<Arc<Attributes>>,
    /// From when on the service may delete it, in epoch seconds.
    expires: Option<i64>,
    size: usize,
}

#[derive(Default)]
struct History(Vec<State>);

impl History {
    fn now(&self) -> Option<&Arc<Attributes>> {
        self.0.last()?.attributes.as_ref()
    }

    fn at(&self, moment: Moment) -> Option<&State> {
        let mut states = self.0.iter().rev();
        states.find(|state| state.since <= moment)
    }

    fn push(&mut self, now: Moment, attributes: Option<Attributes>) {
        let size = attributes.as_ref().map_or(0, size);
        let expires = attributes
            .as_ref()
            .and_then(|it| match it.get("expires_at") {
                Some(AttributeValue::N(seconds)) => seconds.parse().ok(),
                _ => None,
            });
        let obsolete = self.0.iter().rposition(|it| it.since < now - KEPT);
        self.0.drain(..obsolete.unwrap_or(0));
        self.0.push(State {
            since: now,
            attributes: attributes.map(Arc::new),
            expires,
            size,
        });
    }
}

/// Returns the read units of so many bytes that are read at once: one for each
/// 4 KB, or half of one where the read is not consistent.
#[expect(clippy::float_arithmetic, reason = "capacity units are told as floats")]
fn read_units(bytes: usize, consistent: bool) -> f64 {
    let blocks = bytes.div_ceil(4096).max(1) as f64;
    if consistent { blocks } else { blocks / 2.0 }
}

/// Returns the write units of a change: one for each KB of the larger state,
/// whether or not the change is made.
fn write_units(before: usize, after: usize) -> f64 {
    before.max(after).div_ceil(1024).max(1) as f64
}

fn size(item: &Attributes) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len() / 2 + 2,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::Ss(texts) => texts.iter().map(|text| text.len() + 1).sum(),
        _ => 1,
    };
    item.iter().map(|(name, it)| name.len() + value(it)).sum()
}

/// An operation under way.
struct Pending {
    number: u64,
    process: u32,
    label: u64,
    /// Empty for a whole partition.
    sort: String,
}

#[derive(Default)]
struct Partition {
    items: BTreeMap<String, History>,
    pending: Vec<Pending>,
}

#[derive(Default)]
struct Inner {
    partitions: BTreeMap<String, Partition>,
    next: u64,
}

/// The table of one world.
pub struct SimTable {
    world: Arc<World>,
    page: usize,
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for SimTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimTable").finish_non_exhaustive()
    }
}

/// A process's client of the table.
#[derive(Clone, Debug)]
pub struct SimClient(Arc<SimTable>);

/// How one operation goes.
#[derive(Clone, Copy, Debug)]
struct Course {
    /// Until it is sent: a process that is gone before that has not asked.
    sent: i64,
    /// Until it happens.
    before: i64,
    /// Until the answer is back.
    after: i64,
    throttled: bool,
    lost: bool,
    /// It happens a second time, so much later.
    again: Option<i64>,
}

/// An operation that goes on by itself once it was sent.
struct Sent<T> {
    handle: JoinHandle<T>,
    table: Arc<SimTable>,
    partition: String,
    number: u64,
    cut_before: Moment,
}

impl<T> Drop for Sent<T> {
    fn drop(&mut self) {
        let world = &self.table.world;
        if !self.handle.is_finished() && world.now() < self.cut_before {
            world.fault(Fault::CutOff);
            self.handle.abort();
            self.table.end(&self.partition, self.number);
        }
    }
}

impl SimTable {
    /// An empty table whose queries end a page after `page` bytes.
    pub fn new(world: Arc<World>, page: usize) -> Arc<Self> {
        Arc::new(Self {
            world,
            page,
            inner: Mutex::default(),
        })
    }

    /// A client of it.
    pub fn client(self: &Arc<Self>) -> Arc<SimClient> {
        Arc::new(SimClient(self.clone()))
    }

    fn course(&self) -> Course {
        self.world.draw(|rng, knobs| {
            let leg = |rng: &mut crate::rng::Rng| {
                let most = if rng.chance(40) { 400 } else { 6 };
                i64::try_from(rng.between(1, most)).unwrap_or(1)
            };
            let (before, after) = (leg(rng), leg(rng));
            let mut course = Course {
                sent: i64::try_from(rng.below(u64::try_from(before).unwrap_or(1) + 1)).unwrap_or(0),
                before,
                after,
                throttled: rng.chance(knobs.throttled),
                lost: rng.chance(knobs.answer_lost),
                again: None,
            };
            if rng.chance(knobs.repeated) {
                course.again = Some(i64::try_from(rng.between(20, 450)).unwrap_or(20));
            }
            if rng.chance(knobs.late) {
                course.before = i64::try_from(rng.between(1, 3000)).unwrap_or(1);
                course.after = i64::try_from(rng.between(1, 3000)).unwrap_or(1);
            }
            course
        })
    }

    /// Notes that an operation begins, and which of other processes it
    /// overlaps.
    fn begin(&self, partition: &str, sort: &str, label: u64) -> u64 {
        let process = Caller::current().process;
        let inner = &mut *locked(&self.inner);
        inner.next += 1;
        let number = inner.next;
        let partition = inner.partitions.entry(partition.to_owned()).or_default();
        for other in &partition.pending {
            let same = other.sort.is_empty() || sort.is_empty() || other.sort == sort;
            if same && other.process != process {
                let pair = mix(other.label).wrapping_add(mix(label));
                self.world.count(|stats| {
                    stats.overlaps.insert(pair);
                });
            }
        }
        partition.pending.push(Pending {
            number,
            process,
            label,
            sort: sort.to_owned(),
        });
        number
    }

    fn end(&self, partition: &str, number: u64) {
        let inner = &mut *locked(&self.inner);
        if let Some(partition) = inner.partitions.get_mut(partition) {
            partition.pending.retain(|it| it.number != number);
        }
    }

    /// Lets an operation take its course.
    async fn perform<T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        (partition, sort): (&str, &str),
        label: u64,
        mut happen: impl FnMut(&Self, Moment) -> Result<Consumed<T>, CacheError> + Send + 'static,
    ) -> Result<Consumed<T>, CacheError> {
        let error = move |reason: &str| CacheError {
            operation,
            reason: reason.to_owned(),
        };
        let (course, began) = (self.course(), self.world.now());
        let caller = Caller::current();
        self.world.count(|stats| stats.operations += 1);
        let number = self.begin(partition, sort, label);
        let (table, partition) = (self.clone(), partition.to_owned());
        let own_partition = partition.clone();
        let handle = tokio::spawn(async move {
            let world = &table.world;
            tokio::time::sleep(millis(course.before)).await;
            if course.throttled {
                world.fault(Fault::Throttled);
                table.end(&partition, number);
                tokio::time::sleep(millis(course.after)).await;
                return Err(error("ThrottlingException"));
            }
            let outside = caller.enter();
            let mut value = happen(&table, began);
            outside.enter();
            if let Some(pause) = course.again {
                world.fault(Fault::Repeated);
                tokio::time::sleep(millis(pause)).await;
                let outside = caller.enter();
                value = happen(&table, began);
                outside.enter();
            }
            table.end(&partition, number);
            tokio::time::sleep(millis(course.after)).await;
            if course.lost {
                world.fault(Fault::AnswerLost);
                return Err(error("timeout"));
            }
            value
        });
        let mut sent = Sent {
            handle,
            table: self.clone(),
            partition: own_partition,
            number,
            cut_before: began + course.sent,
        };
        let whole = course.before + course.after + course.again.unwrap_or(0);
        if whole > TIMEOUT {
            self.world.fault(Fault::Late);
            tokio::time::sleep(millis(TIMEOUT)).await;
            return Err(error("timeout"));
        }
        match (&mut sent.handle).await {
            Ok(consumed) => consumed,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// How far a read that is not consistent is behind as a whole: most are
    /// answered by a replica that is not.
    fn lag(&self, consistent: bool) -> i64 {
        let lag = self.world.draw(|rng, knobs| {
            if consistent || knobs.lag == 0 || !rng.chance(300) {
                return 0;
            }
            rng.below(knobs.lag + 1)
        });
        i64::try_from(lag).unwrap_or(0)
    }

    /// The moment as of which an item is read that a call from `began` on
    /// reads now: any moment of the call, or of the time that its read is
    /// behind; items of one read differ.
    fn read_at(&self, consistent: bool, lag: i64, began: Moment) -> Moment {
        let now = self.world.now();
        let back = self.world.draw(|rng, knobs| {
            let call = u64::try_from(now - began).unwrap_or(0).min(20);
            let own = match consistent || knobs.lag == 0 || !rng.chance(250) {
                true => call,
                false => knobs.lag / 2,
            };
            rng.below(own + 1)
        });
        now - lag - i64::try_from(back).unwrap_or(0)
    }

    fn read(&self, history: &mut History, at: Moment) -> Option<(Arc<Attributes>, usize)> {
        self.expire(history);
        let latest = history.0.len();
        let state = history.at(at)?;
        if !std::ptr::eq(state, &history.0[latest - 1]) {
            self.world.fault(Fault::Lagged);
        }
        Some((state.attributes.clone()?, state.size))
    }

    /// Deletes what has expired, sooner or later.
    fn expire(&self, history: &mut History) {
        let now = self.world.now();
        let expires = history.0.last().and_then(|state| state.expires);
        if expires.is_some_and(|at| at < wall(now).as_secs())
            && self.world.draw(|rng, _| rng.chance(250))
        {
            self.world.fault(Fault::Expired);
            history.push(now, None);
        }
    }

    fn read_one(
        &self,
        partition: &str,
        sort: &str,
        consistent: bool,
        began: Moment,
    ) -> Option<Attributes> {
        let at = self.read_at(consistent, self.lag(consistent), began);
        let inner = &mut *locked(&self.inner);
        let history = inner.partitions.get_mut(partition)?.items.get_mut(sort)?;
        let (item, _) = self.read(history, at)?;
        Some((*item).clone())
    }

    fn read_page(&self, call: &QueryCall, began: Moment) -> Consumed<QueryPage> {
        let start = call.start.as_ref().map(|key| text(key, "sk"));
        let lag = self.lag(call.consistent);
        let inner = &mut *locked(&self.inner);
        let partition = inner.partitions.entry(call.partition.clone()).or_default();
        let mut page = QueryPage::default();
        let mut sum = 0;
        for (sort, history) in partition.items.iter_mut().rev() {
            let inside = call
                .range
                .as_ref()
                .is_none_or(|(first, last)| first <= sort && sort <= last);
            if !inside || start.as_ref().is_some_and(|start| sort >= start) {
                continue;
            }
            if sum > self.page {
                page.next = page.items.last().map(|last| {
                    let key = |name: &str| (name.to_owned(), last[name].clone());
                    [key("pk"), key("sk")].into()
                });
                break;
            }
            let at = self.read_at(call.consistent, lag, began);
            if let Some((item, size)) = self.read(history, at) {
                sum += size;
                page.items.push((*item).clone());
            }
        }
        Consumed {
            value: page,
            units: read_units(sum, call.consistent),
        }
    }

    /// Changes an item at this moment, if `change` gives a new state.
    fn change<T>(
        &self,
        partition: &str,
        sort: &str,
        change: impl FnOnce(Option<&Arc<Attributes>>) -> (Option<Option<Attributes>>, T),
    ) -> T {
        let now = self.world.now();
        let inner = &mut *locked(&self.inner);
        let partition = inner.partitions.entry(partition.to_owned()).or_default();
        let history = partition.items.entry(sort.to_owned()).or_default();
        self.expire(history);
        let (after, value) = change(history.now());
        if let Some(after) = after {
            history.push(now, after);
        }
        value
    }
}

fn text(item: &Attributes, name: &str) -> String {
    match item.get(name) {
        Some(AttributeValue::S(text)) => text.clone(),
        other => panic!("{other:?} is no key"),
    }
}

/// How long nothing needs to be waited for after an operation was given up.
pub const LATEST: Duration = Duration::from_secs(7);
