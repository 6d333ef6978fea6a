//! The columns of `hits`: ClickBench's 105, each with the way its values are drawn.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// How a column's values are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Unique 64-bit numbers.
    WatchId,
    /// Titles, one of some 90,000 a chunk; few of them name a word that queries look for.
    Title,
    /// The time of the event.
    EventTime,
    /// Its day.
    EventDate,
    /// The site; sorted.
    Counter,
    /// A user's address.
    ClientIp,
    /// A region, very skewed.
    Region,
    /// The user; power law.
    User,
    /// The page.
    Url,
    /// Where the user came from; empty for one in five.
    Referer,
    /// What the user searched for; empty for most.
    SearchPhrase,
    /// Where; 0 without a phrase.
    SearchEngine,
    /// Rarely not 0.
    AdvEngine,
    /// 0 but for phones.
    MobilePhone,
    /// Empty but for phones.
    MobileModel,
    /// One of twelve widths.
    Width,
    /// One of ten heights.
    Height,
    /// A hash of the page.
    UrlHash,
    /// A hash of the referrer.
    RefererHash,
    /// 1 with this probability, else 0.
    Flag(f64),
    /// One of seven small numbers.
    Source,
    /// One of four character sets.
    Charset,
    /// Within two hours of the event.
    NearTime,
    /// Derived from the user, or 0.
    FirstUser,
    /// One of five short texts.
    Language,
    /// One of thirty numbers as text.
    Minor,
    /// A page for one row in twenty.
    OriginalUrl,
    /// Empty but for one row in a hundred.
    RareText,
    /// `bigint`, nearly always small.
    Wide,
    /// `integer`, nearly always small.
    Medium,
    /// `smallint`, nearly always small.
    Small,
}

impl Kind {
    pub(super) fn data_type(self) -> DataType {
        match self {
            Kind::WatchId | Kind::User | Kind::UrlHash | Kind::RefererHash | Kind::FirstUser | Kind::Wide => {
                DataType::Int64
            }
            Kind::Counter | Kind::ClientIp | Kind::Region | Kind::Medium => DataType::Int32,
            Kind::EventTime | Kind::NearTime => DataType::Timestamp(TimeUnit::Microsecond, None),
            Kind::EventDate => DataType::Date32,
            Kind::SearchEngine
            | Kind::AdvEngine
            | Kind::MobilePhone
            | Kind::Width
            | Kind::Height
            | Kind::Flag(_)
            | Kind::Source
            | Kind::Small => DataType::Int16,
            Kind::Title
            | Kind::Url
            | Kind::Referer
            | Kind::SearchPhrase
            | Kind::MobileModel
            | Kind::Charset
            | Kind::Language
            | Kind::Minor
            | Kind::OriginalUrl
            | Kind::RareText => DataType::Utf8,
        }
    }
}

pub(super) fn schema() -> SchemaRef {
    let field = |(name, kind): &(&str, Kind)| Field::new(*name, kind.data_type(), false);
    Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()))
}

pub(super) const COLUMNS: [(&str, Kind); 105] = [
    ("WatchID", Kind::WatchId),
    ("JavaEnable", Kind::Small),
    ("Title", Kind::Title),
    ("GoodEvent", Kind::Small),
    ("EventTime", Kind::EventTime),
    ("EventDate", Kind::EventDate),
    ("CounterID", Kind::Counter),
    ("ClientIP", Kind::ClientIp),
    ("RegionID", Kind::Region),
    ("UserID", Kind::User),
    ("CounterClass", Kind::Small),
    ("OS", Kind::Small),
    ("UserAgent", Kind::Small),
    ("URL", Kind::Url),
    ("Referer", Kind::Referer),
    ("IsRefresh", Kind::Flag(0.12)),
    ("RefererCategoryID", Kind::Small),
    ("RefererRegionID", Kind::Medium),
    ("URLCategoryID", Kind::Small),
    ("URLRegionID", Kind::Medium),
    ("ResolutionWidth", Kind::Width),
    ("ResolutionHeight", Kind::Height),
    ("ResolutionDepth", Kind::Small),
    ("FlashMajor", Kind::Small),
    ("FlashMinor", Kind::Small),
    ("FlashMinor2", Kind::Minor),
    ("NetMajor", Kind::Small),
    ("NetMinor", Kind::Small),
    ("UserAgentMajor", Kind::Small),
    ("UserAgentMinor", Kind::Minor),
    ("CookieEnable", Kind::Small),
    ("JavascriptEnable", Kind::Small),
    ("IsMobile", Kind::Small),
    ("MobilePhone", Kind::MobilePhone),
    ("MobilePhoneModel", Kind::MobileModel),
    ("Params", Kind::RareText),
    ("IPNetworkID", Kind::Medium),
    ("TraficSourceID", Kind::Source),
    ("SearchEngineID", Kind::SearchEngine),
    ("SearchPhrase", Kind::SearchPhrase),
    ("AdvEngineID", Kind::AdvEngine),
    ("IsArtifical", Kind::Small),
    ("WindowClientWidth", Kind::Width),
    ("WindowClientHeight", Kind::Height),
    ("ClientTimeZone", Kind::Small),
    ("ClientEventTime", Kind::NearTime),
    ("SilverlightVersion1", Kind::Small),
    ("SilverlightVersion2", Kind::Small),
    ("SilverlightVersion3", Kind::Medium),
    ("SilverlightVersion4", Kind::Small),
    ("PageCharset", Kind::Charset),
    ("CodeVersion", Kind::Medium),
    ("IsLink", Kind::Flag(0.04)),
    ("IsDownload", Kind::Flag(0.003)),
    ("IsNotBounce", Kind::Small),
    ("FUniqID", Kind::FirstUser),
    ("OriginalURL", Kind::OriginalUrl),
    ("HID", Kind::Medium),
    ("IsOldCounter", Kind::Small),
    ("IsEvent", Kind::Small),
    ("IsParameter", Kind::Small),
    ("DontCountHits", Kind::Flag(0.05)),
    ("WithHash", Kind::Small),
    ("HitColor", Kind::Language),
    ("LocalEventTime", Kind::NearTime),
    ("Age", Kind::Small),
    ("Sex", Kind::Small),
    ("Income", Kind::Small),
    ("Interests", Kind::Small),
    ("Robotness", Kind::Small),
    ("RemoteIP", Kind::Medium),
    ("WindowName", Kind::Medium),
    ("OpenerName", Kind::Medium),
    ("HistoryLength", Kind::Small),
    ("BrowserLanguage", Kind::Language),
    ("BrowserCountry", Kind::Language),
    ("SocialNetwork", Kind::RareText),
    ("SocialAction", Kind::RareText),
    ("HTTPError", Kind::Small),
    ("SendTiming", Kind::Medium),
    ("DNSTiming", Kind::Medium),
    ("ConnectTiming", Kind::Medium),
    ("ResponseStartTiming", Kind::Medium),
    ("ResponseEndTiming", Kind::Medium),
    ("FetchTiming", Kind::Medium),
    ("SocialSourceNetworkID", Kind::Small),
    ("SocialSourcePage", Kind::RareText),
    ("ParamPrice", Kind::Wide),
    ("ParamOrderID", Kind::RareText),
    ("ParamCurrency", Kind::RareText),
    ("ParamCurrencyID", Kind::Small),
    ("OpenstatServiceName", Kind::RareText),
    ("OpenstatCampaignID", Kind::RareText),
    ("OpenstatAdID", Kind::RareText),
    ("OpenstatSourceID", Kind::RareText),
    ("UTMSource", Kind::RareText),
    ("UTMMedium", Kind::RareText),
    ("UTMCampaign", Kind::RareText),
    ("UTMContent", Kind::RareText),
    ("UTMTerm", Kind::RareText),
    ("FromTag", Kind::RareText),
    ("HasGCLID", Kind::Small),
    ("RefererHash", Kind::RefererHash),
    ("URLHash", Kind::UrlHash),
    ("CLID", Kind::Medium),
];
